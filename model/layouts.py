"""Anomaly benchmarks on disk: which images are normal, which are tested, and where the masks are. No image is read.

    mvtec    root/<category>/train/good, test/good, test/<defect>, ground_truth/<defect>: MVTec AD, GoodsAD; BTAD's
             folders `ok` and `ko` are known too. A mask is named <stem>_mask or <stem>, whatever its suffix
    visa     root/split_csv/1cls.csv (object, split, label, image, mask) and the files it names
    real-iad <category>.json in root/realiad_jsons, or in the folder of that name inside it, or in `lists`:
             root/realiad_jsons/realiad_jsons_sv has single views; of realiad_jsons_fuiad_0.1 .. 0.4 the training images
             that are called normal serve as prompts. Images in root/realiad_<side>: of the smallest side that is as
             large as asked, or of the largest
    lists    the published lists test.json and train.json in root or another folder, and the files they name in root
    folders  root/normal, root/query and, if there are any, root/masks with the queries' names
    elpv     root/labels.csv (path, probability of a defect, kind of cell) and the images that it names; those of a
             probability between 0 and 1 are left out
    headct   root/labels.csv (id, hemorrhage) and root/head_ct/<id>.png
    mnist    root/train and root/test, in each a folder of PNGs a digit; even digits are normal

The last three are one category without masks, so they have image scores only; of ELPV's and HeadCT's normal images a
quarter is for the test, drawn as MetaCAN's and InCTRL's code draws it. AITEX is made of its strips by model.tiles.

`root` may also be one category itself (mvtec). Images are png, jpg, jpeg, bmp, tif, tiff or webp, whatever the case of
the letters, of 8 bits a channel; of a mask any value above 0 counts. Test images in a folder `good` or `ok`, whatever
the case of its letters, are normal, in any other folder defective.
"""

import csv
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadRequest, Failure
from configs.layouts import Layout
from model.images import SUFFIXES, WANTED

GOOD = "good"
NORMAL_FOLDERS = (GOOD, "ok")  # in any case; BTAD says ok, many a camera's software OK and NG
ELPV_PROBABILITIES = {  # of a defect: whether it counts as one, None where the labels leave it open
    "0.0": False,
    "0.3333333333333333": None,
    "0.6666666666666666": None,
    "1.0": True,
}
REAL_IAD_IMAGES = re.compile(r"realiad_(\d+)")


@dataclass(frozen=True)
class Query:
    """A test image. `defect` is "good" for a normal one; `mask_path` is None for it, or where no masks are known."""

    path: Path
    mask_path: Path | None
    defect: str

    @property
    def is_anomalous(self) -> bool:
        """By name, as in the published lists: a thin defect may vanish from a small mask."""
        return self.defect != GOOD


@dataclass(frozen=True)
class Category:
    """One kind of object or texture: normal training images and test images, neither empty.

    `root` is the folder that names in the published lists start from.
    """

    name: str
    normals: tuple[Path, ...]
    queries: tuple[Query, ...]
    root: Path

    def name_of(self, path: Path) -> str:
        """An image as the published lists name it, such as bottle/train/good/000.png."""
        return path.relative_to(self.root).as_posix()


def read_benchmark(
    layout: Layout, root: str | Path, lists: str | Path | None = None, side_px: int = 1
) -> tuple[Category, ...]:
    """List the categories under `root` by name, images sorted by path.

    With `lists`, the folder of the published test.json and train.json, another layout than `lists` must hold the very
    images that they name; of real-iad it is the folder of its <category>.json. Where a benchmark comes in several sizes
    (real-iad), the images are at least `side_px` wide, or the largest.

    Raises:
        BadRequest: `root` is no folder or not of this layout, or has no such lists.
        Failure: a category lacks normal images, test images or the mask of an anomalous image; or differs from `lists`.
    """
    root = Path(root)
    if not root.is_dir():
        raise BadRequest(f"{root}: no such folder; wanted a benchmark of layout {layout}")
    if layout == "lists":
        return _read_lists(root, Path(lists or root))
    if layout == "real-iad":
        return _read_real_iad(root, Path(lists) if lists else None, side_px)
    read = {
        "mvtec": _read_mvtec,
        "visa": _read_visa,
        "folders": _read_folders,
        "elpv": _read_elpv,
        "headct": _read_headct,
        "mnist": _read_mnist,
    }[layout]
    categories = read(root)
    if lists is not None:
        check_against_lists(categories, Path(lists))
    return categories


def labelled(layout: Layout, root: str | Path) -> list[tuple[str, Path, bool]]:
    """All images of a benchmark as (category, path, whether anomalous), to learn from what is known of them.

    Normal training and test images are normal, as MetaCAN's released code has it for its auxiliary data.

    Raises:
        As `read_benchmark`.
    """
    found = []
    for category in read_benchmark(layout, root):
        found += [(category.name, path, False) for path in category.normals]
        found += [(category.name, query.path, query.is_anomalous) for query in category.queries]
    return found


def check_against_lists(categories: Sequence[Category], folder: Path) -> None:
    """Check that categories hold the images that the published lists name, no more and no less.

    Raises:
        Failure: they do not.
    """
    listed = {category.name: category for category in _read_lists(categories[0].root, folder, must_exist=False)}
    for category in categories:
        if category.name not in listed:
            raise Failure(f"{folder}: no category {category.name}; there are {', '.join(listed)}")
        wanted = listed[category.name]
        for what, found, named in (
            ("normal", set(category.normals), set(wanted.normals)),
            (
                "test",
                {(q.path, q.mask_path) for q in category.queries},
                {(q.path, q.mask_path) for q in wanted.queries},
            ),
        ):
            if found != named:
                one: Any = sorted(found ^ named, key=str)[0]
                name = one[0] if isinstance(one, tuple) else one
                raise Failure(
                    f"{category.name}: {len(found)} {what} images found, {len(named)} in {folder}; they differ in"
                    f" {name}; complete the data set, or leave the lists out"
                )


def _read_mvtec(root: Path) -> tuple[Category, ...]:
    if _is_category(root):
        return (_mvtec_category(root.absolute()),)
    folders = [folder for folder in _folders(root) if _is_category(folder)]
    if not folders:
        found = ", ".join(folder.name for folder in _folders(root)[:5]) or "no folder"
        raise BadRequest(f"{root}: holds no category (found {found}); wanted <category>/train/good and <category>/test")
    return tuple(map(_mvtec_category, folders))


def _is_category(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _mvtec_category(folder: Path) -> Category:
    normals = [path for part in _folders(folder / "train") if _is_normal(part.name) for path in _images(part)]
    queries = [query for defect in _folders(folder / "test") for query in _mvtec_queries(folder, defect.name)]
    return _category(folder.name, normals, queries, folder.parent, folder / "train" / GOOD, folder / "test")


def _mvtec_queries(folder: Path, defect: str) -> Iterator[Query]:
    images = _images(folder / "test" / defect)
    if _is_normal(defect):
        yield from (Query(path, None, GOOD) for path in images)
        return
    truth = folder / "ground_truth" / defect
    masks = {path.stem: path for path in _images(truth)}
    for path in images:
        yield Query(path, _mask_of(path, path.stem, masks, truth), defect)


def _mask_of(image: Path, name: str, masks: Mapping[str, Path], folder: Path) -> Path:
    mask_path = masks.get(f"{name}_mask") or masks.get(name)
    if mask_path is None:
        raise Failure(f"{image}: no mask; wanted {folder}/{name}_mask.png or {name}.png")
    return mask_path


def _read_visa(root: Path) -> tuple[Category, ...]:
    path = root / "split_csv" / "1cls.csv"
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read ({error.strerror}); wanted VisA's split beside its folders") from None
    entries = []
    for row in rows:
        if not {"object", "split", "label", "image", "mask"} <= row.keys():
            raise BadRequest(f"{path}: found columns {', '.join(row)}; wanted object, split, label, image, mask")
        defect = GOOD if row["label"] == "normal" else row["label"]
        entries.append((row["object"], row["split"], row["image"], row["mask"], defect))
    return _of_entries(root, path, entries)


def _read_real_iad(root: Path, lists: Path | None, side_px: int) -> tuple[Category, ...]:
    outer = root / "realiad_jsons"
    folders = [outer, outer / "realiad_jsons"] if lists is None else [lists]
    files = next(filter(None, (sorted(folder.glob("*.json")) for folder in folders)), [])
    sides = {int(found[1]): path for path in _folders(root) if (found := REAL_IAD_IMAGES.fullmatch(path.name))}
    if not files or not sides:
        where = lists or "realiad_jsons or realiad_jsons/realiad_jsons"
        raise BadRequest(f"{root}: wanted <category>.json in {where}, and realiad_<side> with the images")
    images = sides[min((side for side in sides if side >= side_px), default=max(sides))]
    categories: list[Category] = []
    for path in files:
        said = _json(path, path.read_text())
        try:
            prefix, normal = said["meta"]["prefix"], said["meta"]["normal_class"]
            entries = [
                (
                    path.stem,
                    split,
                    prefix + entry["image_path"],
                    prefix + entry["mask_path"] if entry.get("mask_path") else "",
                    GOOD if entry["anomaly_class"] == normal else entry["anomaly_class"],
                )
                for split in ("train", "test")
                for entry in said[split]
            ]
        except (KeyError, TypeError) as error:
            raise BadRequest(f"{path}: not a list of Real-IAD ({type(error).__name__}: {error})") from None
        categories += _of_entries(images, path, entries)
    return tuple(categories)


def _read_lists(root: Path, folder: Path, *, must_exist: bool = True) -> tuple[Category, ...]:
    entries = []
    for split in ("train", "test"):
        path = folder / f"{split}.json"
        if not path.is_file():
            raise BadRequest(f"{path}: no such file; wanted the published lists train.json and test.json there")
        for line in filter(str.strip, path.read_text().splitlines()):
            said = _json(path, line)
            try:
                name, image, anomalous = said["clsname"], said["filename"], said["label"]
            except (KeyError, TypeError):
                raise BadRequest(
                    f"{path}: found {line[:60]}; wanted filename, label and clsname on each line"
                ) from None
            # A folder says which defect it is: bottle/test/broken_large/000.png
            entries.append(
                (name, split, image, said.get("maskname") or "", Path(image).parent.name if anomalous else GOOD)
            )
    # VisA's train.json names some files twice.
    return _of_entries(root, folder / "test.json", dict.fromkeys(entries), must_exist=must_exist)


def _of_entries(
    root: Path, source: Path, entries: Iterable[tuple[str, str, str, str, str]], *, must_exist: bool = True
) -> tuple[Category, ...]:
    """Categories of (category, split, image, mask or "", defect), the files relative to `root`."""
    categories = []
    for name, group in groupby(sorted(entries), key=lambda entry: entry[0]):
        normals, queries = [], []
        for _, split, image, mask, defect in group:
            if must_exist and not (root / image).is_file():
                raise Failure(f"{root / image}: no such file, but {source} names it; complete the data set")
            if split == "train" and defect == GOOD:
                normals.append(root / image)
            elif split == "test":
                if defect != GOOD and (not mask or (must_exist and not (root / mask).is_file())):
                    raise Failure(f"{root / image}: no mask; {source} names {mask or 'none'}; wanted that file")
                queries.append(Query(root / image, root / mask if defect != GOOD else None, defect))
        categories.append(_category(name, sorted(normals), sorted(queries, key=lambda q: q.path), root, source, source))
    if not categories:
        raise BadRequest(f"{source}: names no image")
    return tuple(categories)


def _read_folders(root: Path) -> tuple[Category, ...]:
    queries, masks = root / "query", root / "masks"
    if not (root / "normal").is_dir() or not queries.is_dir():
        found = ", ".join(folder.name for folder in _folders(root)[:5]) or "no folder"
        raise BadRequest(f"{root}: found {found}; wanted the folders normal and query, and masks if there are any")
    return (read_folders(root / "normal", queries, masks if masks.is_dir() else None, root.absolute().name),)


def read_folders(normal: Path, query: Path, masks: Path | None = None, name: str = "images") -> Category:
    """Any two folders as a category: normal images, and queries with masks of the same names.

    A query in a folder `good` (or `ok`) is normal. Without masks the others are anomalous, known to be so as a whole
    only: there are image scores, no pixel scores.

    Raises:
        Failure: no images, or a query without its mask.
        BadRequest: no masks, and no folder `good` that would tell which queries are normal.
    """
    images = sorted(path for path in query.rglob("*") if _is_image(path))
    paths = [] if masks is None else [path for path in masks.rglob("*") if _is_image(path)]
    named = {} if masks is None else {path.relative_to(masks).with_suffix("").as_posix(): path for path in paths}
    queries = []
    for path in images:
        stem = path.relative_to(query).with_suffix("").as_posix()
        good = path.parent != query and _is_normal(path.parent.name)
        defect = GOOD if good else path.parent.name if path.parent != query else "query"
        queries.append(Query(path, None if good or masks is None else _mask_of(path, stem, named, masks), defect))
    if masks is None and queries and all(query.is_anomalous for query in queries):
        raise BadRequest(
            f"{query}: {len(queries)} images, no masks and no folder {GOOD}: nothing to score against; pass masks, sort"
            f" the normal ones into {query / GOOD}, or use model.predict"
        )
    return _category(name, sorted(filter(_is_image, normal.rglob("*"))), queries, normal.parent, normal, query)


def _read_elpv(root: Path) -> tuple[Category, ...]:
    normal: list[Path] = []
    anomalous: list[Path] = []
    for line in _lines(root / "labels.csv", "path, probability and kind of cell, as ELPV's"):
        name, probability, _ = (*line.split(), "", "")[:3]
        if probability not in ELPV_PROBABILITIES:
            raise BadRequest(f"{root / 'labels.csv'}: found {line[:60]!r}; wanted path, probability and kind of cell")
        if ELPV_PROBABILITIES[probability] is not None:
            (anomalous if ELPV_PROBABILITIES[probability] else normal).append(root / name)
    return (_without_masks("elpv", root, normal, anomalous),)


def _read_headct(root: Path) -> tuple[Category, ...]:
    normal: list[Path] = []
    anomalous: list[Path] = []
    for line in _lines(root / "labels.csv", "id and hemorrhage, as HeadCT's")[1:]:
        number, _, label = (part.strip() for part in line.partition(","))
        if not number.isdecimal() or label not in ("0", "1"):
            raise BadRequest(f"{root / 'labels.csv'}: found {line[:60]!r}; wanted an id, and 0 or 1")
        (anomalous if label == "1" else normal).append(root / "head_ct" / f"{int(number):03}.png")
    return (_without_masks("headct", root, normal, anomalous),)


def _read_mnist(root: Path) -> tuple[Category, ...]:
    for part in ("train", "test"):
        if [folder.name for folder in _folders(root / part)] != [str(digit) for digit in range(10)]:
            raise BadRequest(f"{root / part}: wanted a folder of PNGs for each digit, 0 to 9")
    normals = [path for digit in range(0, 10, 2) for path in _images(root / "train" / str(digit))]
    queries = [
        Query(path, None, str(digit) if digit % 2 else GOOD)
        for digit in range(10)
        for path in _images(root / "test" / str(digit))
    ]
    return (_category("mnist", normals, queries, root, root / "train", root / "test"),)


def _without_masks(name: str, root: Path, normal: Sequence[Path], anomalous: Sequence[Path]) -> Category:
    """A category of labelled images; a quarter of the normal ones is for the test."""
    missing = next((path for path in (*normal, *anomalous) if not path.is_file()), None)
    if missing is not None:
        raise Failure(f"{missing}: no such file, but {root / 'labels.csv'} names it; complete the data set")
    train, test = quarter(normal)
    queries = [Query(path, None, GOOD) for path in test] + [Query(path, None, "anomalous") for path in anomalous]
    return _category(name, train, queries, root, root / "labels.csv", root / "labels.csv")


def quarter(images: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Part normal images in three quarters to learn from and a quarter for the test.

    As scikit-learn's train_test_split with seed 42 does, with which MetaCAN's and InCTRL's code part them.
    """
    # The generator is that library's, of numpy's first kind, and local.
    order = np.random.RandomState(42).permutation(len(images))
    count = math.ceil(len(images) / 4)
    return [images[place] for place in order[count:]], [images[place] for place in order[:count]]


def _lines(path: Path, wanted: str) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read ({error.strerror}); wanted {wanted}") from None


def _category(
    name: str, normals: Iterable[Path], queries: Iterable[Query], root: Path, of_normals: Path, of_queries: Path
) -> Category:
    category = Category(name, tuple(normals), tuple(queries), root)
    if not category.normals:
        raise Failure(f"{of_normals}: no normal image of {name}; wanted at least one {WANTED} to draw a prompt")
    if not category.queries:
        raise Failure(f"{of_queries}: no test image of {name}; wanted {WANTED}")
    return category


def _is_normal(folder: str) -> bool:
    return folder.lower() in NORMAL_FOLDERS


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRequest(f"{path}: not JSON: {error}") from None


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "."


def _images(folder: Path) -> list[Path]:
    """Image files in `folder`, sorted, hidden ones left out; none if the folder is missing."""
    return sorted(filter(_is_image, folder.iterdir())) if folder.is_dir() else []


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
