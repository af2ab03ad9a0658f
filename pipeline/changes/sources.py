"""What pairs are made of: the indexed images at the pairs' size, the same without some objects, and instance masks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.removal import OBJECTS
from pipeline.changes.texture_folder import TextureFolder
from pipeline.shards import (
    RECORDS,
    ChunkReader,
    ShardEntry,
    Values,
    child,
    open_shard,
    read_attributes,
    read_manifest,
)
from pipeline.source import SPLITS, Index, InstanceRow, RightsTable, resize_mask

DONORS_KEPT = 16  # an image in memory may be the donor of several pairs

Pair = Values  # uint8 (2, H, W, 3): the image as it was, and filled


@dataclass(frozen=True)
class Filled:
    """An image with some objects removed, before anyone has judged what can be seen of it."""

    pixels: Image  # as the filler left them
    objects: Mask  # what was removed
    hole: Mask  # what the filler was asked to paint


class Sources:
    """Reads data/index and data/inpainted by image, named by its row in the index, and the folder of textures, if any.

    Raises:
        BadRequest: one of the first two is not finished, or the third has no images.
    """

    def __init__(self, index_root: Path, inpainted_root: Path, textures: Path | None = None) -> None:
        self.index, self.rights = Index(index_root), RightsTable(index_root)
        manifest = read_manifest(inpainted_root)
        self._where, self._key = manifest.where(inpainted_root), manifest.key
        self.digest = manifest.digest
        self._entries = [shard for split in SPLITS for shard in manifest.shards if shard.split == split]
        counts = [count for shard in self._entries for count in shard.per_image]
        assert len(counts) == len(self.index), f"{inpainted_root}: of another index"
        self._starts = np.cumsum([0, *counts])  # the place of each row's first pair among all
        self._shard_starts = np.cumsum([0, *(shard.pairs for shard in self._entries)])
        first = open_shard(self._where, self._key(self._entries[0]))
        size = first.attributes["parameters"]["size"]
        self.size: tuple[int, int] = (size[0], size[1])  # height, width in pixels
        self.filled_with: dict[str, Any] = first.attributes["parameters"]["inpaint"]
        self.textures = None if textures is None else TextureFolder(textures, self.size)
        self._opened: dict[str, tuple[ChunkReader, ChunkReader, ChunkReader]] = {}
        self._removed: tuple[str, list[tuple[int, ...]]] = "", []  # the last shard asked, and of each pair of it
        self._row_of = {int(image_id): row for row, image_id in enumerate(self.index.image_ids)}
        self._ahead: dict[int, tuple[Pair, Filled]] = {}  # place -> what was read ahead
        self._read_one: Callable[[int], Pair] = lru_cache(DONORS_KEPT)(self._read_pair)

    @property
    def digests(self) -> dict[str, str]:
        """Of each of the sources, by its name."""
        found = {"index": self.index.digest, "rights": self.rights.digest, "inpainted": self.digest}
        return found if self.textures is None else {**found, "textures": self.textures.digest}

    def row(self, image_id: int) -> int:
        """The row of an image."""
        return self._row_of[image_id]

    def split_rows(self, row: int) -> range:
        """The rows of the split that `row` belongs to."""
        train = self.index.rows("train")
        return train if row in train else self.index.rows("val")

    def variants(self, row: int) -> int:
        """How many pairs there are of an image: one for each set of objects removed, or one of the image as it is."""
        return int(self._starts[row + 1] - self._starts[row])

    def read_ahead(self, rows: range) -> None:
        """Read all variants of consecutive images at once; kept until the next."""
        self._ahead.clear()
        first, last = int(self._starts[rows.start]), int(self._starts[rows.stop])
        while first < last:
            entry, place = self._find(first)
            stop = min(place + last - first, entry.pairs)
            pairs, holes, objects = (chunks.read(place, stop) for chunks in self._chunks(entry))
            for pair, hole, removed in zip(pairs, holes, objects, strict=True):
                self._ahead[first] = pair, Filled(pair[1], removed > 0, hole > 0)
                first += 1

    def original(self, row: int) -> Image:
        """An image as it was; uint8 (H, W, 3)."""
        place = int(self._starts[row])
        ahead = self._ahead.get(place)
        return np.asarray((ahead[0] if ahead is not None else self._read_one(place))[0])

    def filled(self, row: int, variant: int) -> Filled:
        """An image without some of its objects; empty masks when none could be removed."""
        place = int(self._starts[row]) + variant
        ahead = self._ahead.get(place)
        if ahead is not None:
            return ahead[1]
        entry, inside = self._find(place)
        (hole,), (objects,) = (chunks.read(inside, inside + 1) for chunks in self._chunks(entry)[1:])
        return Filled(self._read_one(place)[1], objects > 0, hole > 0)

    def removed(self, row: int, variant: int) -> tuple[int, ...]:
        """The ids of the instances that a variant of an image is without."""
        entry, inside = self._find(int(self._starts[row]) + variant)
        if entry.name != self._removed[0]:
            records = read_attributes(child(self._where, f"{self._key(entry)}.zarr"))[RECORDS]
            self._removed = entry.name, [tuple(record["removed"]) for record in records]
        return self._removed[1][inside]

    def texture(self, name: str) -> Image:
        """An image of the folder of textures; uint8 (H, W, 3)."""
        assert self.textures is not None, f"{name}: of a folder of textures, and there is none"
        return self.textures.read(name)

    def instance_mask(self, row: int, instance: InstanceRow) -> Mask:
        """The mask of one instance at the pairs' size."""
        return resize_mask(self.index.masks(row, [instance])[0], self.size)

    def _read_pair(self, place: int) -> Pair:
        entry, inside = self._find(place)
        pair: Pair = self._chunks(entry)[0].read(inside, inside + 1)[0]
        return pair

    def _find(self, place: int) -> tuple[ShardEntry, int]:
        """The shard that holds a pair, and the pair's place there."""
        number = int(np.searchsorted(self._shard_starts, place, side="right")) - 1
        return self._entries[number], place - int(self._shard_starts[number])

    def _chunks(self, entry: ShardEntry) -> tuple[ChunkReader, ChunkReader, ChunkReader]:
        """The pairs, the holes and the objects of a shard."""
        if entry.name not in self._opened:
            shard = child(self._where, f"{self._key(entry)}.zarr")
            pair, hole, objects = (
                ChunkReader(child(shard, name), entry.pairs, shape)
                for name, shape in (("pair", (2, *self.size, 3)), ("mask", self.size), (OBJECTS, self.size))
            )
            self._opened[entry.name] = pair, hole, objects
        return self._opened[entry.name]
