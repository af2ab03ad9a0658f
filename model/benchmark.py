"""Anomaly benchmarks on disk: the MVTec layout, its images and masks.

    root/<category>/train/good/*.png                    normal images, from which prompts are drawn
    root/<category>/test/good/*.png, test/<defect>/*.png   queries
    root/<category>/ground_truth/<defect>/<stem>_mask.png  or <stem>.png: non-zero where anomalous

`root` may also be one category itself. Images are png, jpg, jpeg or bmp, whatever the case of the letters.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from configs.errors import BadRequest, Failure
from pipeline.arrays import Image, Mask

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})
GOOD = "good"


@dataclass(frozen=True)
class Query:
    """A test image. `mask_path` is None, and `defect` is "good", for a normal one."""

    path: Path
    mask_path: Path | None
    defect: str


@dataclass(frozen=True)
class Category:
    """One kind of object or texture: normal training images and test images, both sorted by path, neither empty."""

    name: str
    normals: tuple[Path, ...]
    queries: tuple[Query, ...]


def read_mvtec(root: str | Path) -> tuple[Category, ...]:
    """List the categories under `root` by name; no image is read yet.

    Raises:
        BadRequest: `root` is no folder, or neither is nor holds a category.
        Failure: a category lacks normal images, test images or the mask of a defective image.
    """
    root = Path(root)
    if not root.is_dir():
        raise BadRequest(f"{root}: no such folder; wanted <category>/train/good and <category>/test inside it")
    folders = [root] if _is_category(root) else [folder for folder in _folders(root) if _is_category(folder)]
    if not folders:
        found = ", ".join(folder.name for folder in _folders(root)[:5]) or "no folder"
        raise BadRequest(f"{root}: holds no category (found {found}); wanted <category>/train/good and <category>/test")
    return tuple(_category(folder) for folder in folders)


def read_image(path: Path) -> Image:
    """Read an image as RGB uint8 (H, W, 3); grey ones are repeated, alpha is dropped.

    The EXIF orientation is ignored: masks are drawn on the stored pixels and carry none, and turning the image alone
    would part the two.

    Raises:
        Failure: the file is missing or is not an image.
    """
    return cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def read_query(query: Query) -> tuple[Image, Mask]:
    """Read a query, RGB uint8 (H, W, 3), and its mask, bool (H, W), all False for a normal one.

    Raises:
        Failure: a file cannot be read, or the mask has another size than its image.
    """
    image = read_image(query.path)
    if query.mask_path is None:
        return image, np.zeros(image.shape[:2], np.bool_)
    mask = _decode(query.mask_path, cv2.IMREAD_GRAYSCALE) > 0
    if mask.shape != image.shape[:2]:
        raise Failure(
            f"{query.mask_path}: mask is {_size(mask.shape)}, its image {query.path} is {_size(image.shape)}; "
            "wanted the same size"
        )
    return image, mask


def resize_image(image: Image, size: tuple[int, int]) -> Image:
    """Stretch uint8 (h, w, 3) to `size` = (H, W): pixel areas are averaged to shrink it, bilinear to enlarge it."""
    height, width = size
    shrinks = height * width < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized.astype(np.uint8, copy=False)


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Stretch bool (h, w) to `size` = (H, W) by the nearest pixel (protocol `exact`).

    The published code resizes bilinearly and counts every trace as anomalous, which widens regions by about a pixel.
    """
    height, width = size
    # INTER_NEAREST would take the pixel up and to the left of the centre and so shift the mask against its image.
    return cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0


def _is_category(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _category(folder: Path) -> Category:
    normals = _images(folder / "train" / GOOD)
    if not normals:
        raise Failure(f"{folder / 'train' / GOOD}: no normal image; wanted at least one {_wanted()} to draw a prompt")
    queries = tuple(query for defect in _folders(folder / "test") for query in _queries(folder, defect.name))
    if not queries:
        raise Failure(f"{folder / 'test'}: no test image; wanted {_wanted()} in test/{GOOD} and test/<defect>")
    return Category(folder.absolute().name, tuple(normals), queries)


def _queries(folder: Path, defect: str) -> list[Query]:
    images = _images(folder / "test" / defect)
    if defect == GOOD:
        return [Query(path, None, GOOD) for path in images]
    truth = folder / "ground_truth" / defect
    masks = {path.stem: path for path in _images(truth)}
    queries = []
    for path in images:
        mask_path = masks.get(f"{path.stem}_mask") or masks.get(path.stem)
        if mask_path is None:
            raise Failure(f"{path}: no mask; wanted {truth}/{path.stem}_mask.png or {path.stem}.png")
        queries.append(Query(path, mask_path, defect))
    return queries


def _images(folder: Path) -> list[Path]:
    """Image files in `folder`, sorted, hidden ones left out; none if the folder is missing."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _decode(path: Path, flags: int) -> Image:
    try:
        # Decoding bytes, unlike `cv2.imread`, tells a missing file from a broken one and prints no warning.
        stored = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from None
    pixels = cv2.imdecode(stored, flags | cv2.IMREAD_IGNORE_ORIENTATION) if stored.size else None
    if pixels is None:
        raise Failure(f"{path}: not an image ({stored.size} bytes); wanted {_wanted()}")
    return pixels.astype(np.uint8, copy=False)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"


def _wanted() -> str:
    return "png, jpg, jpeg or bmp"
