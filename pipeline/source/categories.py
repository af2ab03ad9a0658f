"""The normal images of a folder of categories, such as a benchmark in MVTec layout: no instances, no defects.

    root/<category>/train/good/*.png   MVTec AD, VisA's converted copies, GoodsAD; BTAD's `ok` is known too
    root/<category>/*.png              photographs of one kind, where a folder has no `train`
    root/train/good/*.png, root/*.png  one category alone, named as its folder

Whatever else lies there is not looked at: of a benchmark its test images and masks.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import BadRequest
from pipeline.source.coco import Annotations
from pipeline.source.images import SUFFIXES

NORMAL = ("good", "ok")  # folders of normal images, in any case
ID_BYTES = 6  # of a digest: exact in JSON, and no two alike among millions


def read_categories(root: Path) -> Annotations:
    """List the normal images below `root`, each with its category as the group; no file is opened.

    An image's id is made of its name, so that another image more or less changes no other's.

    Raises:
        BadRequest: there is no such folder, or no image of this layout in it.
    """
    if not root.is_dir():
        raise BadRequest(f"{root}: no such folder; data.images must name a folder of categories")
    images: dict[int, dict[str, Any]] = {}
    for group, path in sorted(_listed(root), key=lambda one: one[1].as_posix()):
        name = path.relative_to(root).as_posix()
        image_id = id_of(name)
        if image_id in images:
            raise BadRequest(f"{root}: {name} and {images[image_id]['file_name']} get one id; rename one of them")
        images[image_id] = {"id": image_id, "file_name": name, "group": group}
    if not images:
        raise BadRequest(f"{root}: no normal images; wanted <category>/train/good/*.png, or <category>/*.png")
    return Annotations(images, {image_id: [] for image_id in images}, Counter())


def id_of(name: str) -> int:
    """The id of an image by its name in the folder."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:ID_BYTES])


def _listed(root: Path) -> Iterator[tuple[str, Path]]:
    """Each normal image with its category."""
    alone = _normal_images(root)
    if alone or (root / "train").is_dir():
        beside = [] if (root / "train").is_dir() else [path for path in _folders(root) if _normal_images(path)]
        if beside:
            raise BadRequest(
                f"{root}: holds images and folders of images, such as {alone[0].name} and {beside[0].name}; wanted"
                " either, so move one of the two"
            )
        yield from ((root.resolve().name, path) for path in alone)
        return
    for folder in _folders(root):
        yield from ((folder.name, path) for path in _normal_images(folder))


def _normal_images(folder: Path) -> list[Path]:
    """Those of one category.

    Raises:
        BadRequest: it has training images of which nothing says that they are normal.
    """
    train = folder / "train"
    if not train.is_dir():
        return _images(folder)
    normal = [inner for inner in _folders(train) if inner.name.lower() in NORMAL]
    if not normal:
        raise BadRequest(f"{train}: no folder {' or '.join(NORMAL)} there; wanted {train}/{NORMAL[0]}/*.png")
    return [path for inner in normal for path in _images(inner)]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> list[Path]:
    """Hidden files are none: some systems leave such beside each image."""
    named = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in named if path.suffix.lower() in SUFFIXES and path.is_file()]
