"""Which images take part, in which split, with which usable instances: the versioned stand-in for the image folder.

    data/index/images.feather      a row per image, train first, then val, each in the order of random ranks
    data/index/instances.feather   a row per usable instance, in the order of the images
    data/index/rights.feather      a row per image: whose it is (`pipeline/source/rights.py`)
    data/index/summary.json        counts, what was skipped and why, and digests of the tables

The tables are uncompressed Arrow files: every worker maps them into memory and reads only the rows it needs.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyarrow import feather

from configs.errors import BadRequest, Failure
from pipeline.arrays import Image, Mask
from pipeline.source.images import UnreadableImageError, content_hash, decode, read_bytes
from pipeline.source.run_lengths import decode_mask, union

IMAGES, INSTANCES, SUMMARY = "images.feather", "instances.feather", "summary.json"
SPLITS = ("train", "val")
IMAGES_KEPT = 64  # rows of the image table, asked for several times while an image is worked on


@dataclass(frozen=True)
class ImageRow:
    """One image of the index."""

    image_id: int
    file: str  # inside data.images
    height: int  # pixels, as stored
    width: int
    sha256: str  # of the file
    split: str
    rank: int  # 0 .. 2^63 - 1, drawn for the image alone: rows of a split ascend in it
    group: str  # the category it is a normal image of; WHOLE of a source without categories
    instances: int  # usable ones
    first_instance: int  # row of its first instance in the instance table


@dataclass(frozen=True)
class InstanceRow:
    """One usable instance: an object whose mask is known."""

    instance_id: int
    image_id: int
    is_crowd: bool
    area_px: int
    counts: bytes  # COCO's compressed run lengths at the image's own size


class Index:
    """The finished index, mapped into memory. A *row* is an image's place in it, 0 to `len(index) - 1`."""

    def __init__(self, root: Path) -> None:
        try:
            self.summary: dict[str, Any] = json.loads((root / SUMMARY).read_text())
            self._images = feather.read_table(root / IMAGES, memory_map=True)
            self._instances = feather.read_table(root / INSTANCES, memory_map=True)
        except FileNotFoundError as error:
            raise BadRequest(f"no {error.filename or root}: the index is not made; run `dvc repro index`") from None
        self.digest: str = self.summary["digest"]
        self.image_ids = self._images["image_id"].to_numpy()
        self._image_row: Callable[[int], ImageRow] = lru_cache(IMAGES_KEPT)(self._read_image_row)

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, split: str) -> range:
        """The rows of a split, which are consecutive."""
        trained = int(self.summary["images"]["train"])
        return range(trained) if split == "train" else range(trained, len(self))

    def image(self, row: int) -> ImageRow:
        """What is known of the image in a row."""
        return self._image_row(row)

    def instances(self, row: int) -> list[InstanceRow]:
        """The usable instances of the image in a row, in id order."""
        image = self.image(row)
        return [
            InstanceRow(**values) for values in self._instances.slice(image.first_instance, image.instances).to_pylist()
        ]

    def masks(self, row: int, instances: Sequence[InstanceRow]) -> list[Mask]:
        """The masks of instances of the image in a row, bool (height, width) at the image's own size."""
        image = self.image(row)
        return [decode_mask(instance.counts, image.height, image.width) for instance in instances]

    @property
    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        return list(self.summary["groups"])

    def ranks(self, split: str) -> list[int]:
        """The ranks of a split's rows, ascending."""
        rows = self.rows(split)
        ranks: list[int] = self._images["rank"].slice(rows.start, len(rows)).to_pylist()
        return ranks

    def digest_of(self, split: str, first: int, stop: int) -> str:
        """Hexadecimal sha256 of what is known of some images of a split and of their instances, wherever they stand."""
        digest = hashlib.sha256()
        for row in self.rows(split)[first:stop]:
            image = asdict(self.image(row))
            del image["first_instance"]
            instances = [
                [one.instance_id, one.is_crowd, one.area_px, one.counts.decode()] for one in self.instances(row)
            ]
            digest.update(json.dumps([image, instances], sort_keys=True).encode())
        return digest.hexdigest()

    def union(self, row: int, instances: Sequence[InstanceRow]) -> Mask:
        """The union of the masks of instances of the image in a row, bool (height, width) at the image's own size."""
        image = self.image(row)
        counts = union([instance.counts for instance in instances], image.height, image.width)
        return decode_mask(counts, image.height, image.width)

    def _read_image_row(self, row: int) -> ImageRow:
        return ImageRow(**self._images.slice(row, 1).to_pylist()[0])


def read_indexed_image(folder: Path, row: ImageRow) -> Image:
    """Read an image of the index, uint8 (height, width, 3) RGB.

    Raises:
        Failure: it is gone, or its content is not the one that was indexed.
    """
    path = folder / row.file
    try:
        data = read_bytes(path)
        if content_hash(data) != row.sha256:
            raise Failure(f"{path}: changed since it was indexed; run `dvc repro -f index`")
        return decode(data)
    except UnreadableImageError as error:
        raise Failure(f"{path}: {error}, but it was readable when indexed; run `dvc repro -f index`") from None
