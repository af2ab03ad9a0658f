"""What pairs are made of: the indexed images at the pairs' size, the same without some objects, and instance masks."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.shards import ChunkReader, ShardEntry, Values, child, open_shard, read_manifest
from pipeline.source import SPLITS, Index, InstanceRow, resize_mask

DONORS_KEPT = 16  # an image in memory may be the donor of several pairs

Pair = Values  # uint8 (2, H, W, 3): the image as it was, and changed


class Sources:
    """Reads data/index and data/inpainted by image; images are named by their row in the index.

    Raises:
        BadRequest: one of the two is not finished.
    """

    def __init__(self, index_root: Path, inpainted_root: Path) -> None:
        self.index = Index(index_root)
        manifest = read_manifest(inpainted_root)
        self._where = manifest.where(inpainted_root)
        self.digest = manifest.digest
        self._entries = {split: [shard for shard in manifest.shards if shard.split == split] for split in SPLITS}
        self._starts = {split: np.cumsum([0] + [shard.pairs for shard in self._entries[split]]) for split in SPLITS}
        parameters = open_shard(self._where, manifest.shards[0].name).attributes["parameters"]
        self.variants: int = parameters["inpaint"]["variants_per_image"]
        self.size: tuple[int, int] = (parameters["size"][0], parameters["size"][1])  # height, width in pixels
        self._opened: dict[str, tuple[ChunkReader, ChunkReader]] = {}
        self._row_of = {int(image_id): row for row, image_id in enumerate(self.index.image_ids)}
        self._ahead: dict[tuple[int, int], tuple[Pair, Mask]] = {}  # (row, variant) -> what was read ahead
        self._read_one: Callable[[int, int], Pair] = lru_cache(DONORS_KEPT)(self._read_pair)

    def row(self, image_id: int) -> int:
        """The row of an image."""
        return self._row_of[image_id]

    def split_rows(self, row: int) -> range:
        """The rows of the split that `row` belongs to."""
        train = self.index.rows("train")
        return train if row in train else self.index.rows("val")

    def read_ahead(self, rows: range) -> None:
        """Read all variants of images of one split at once; kept until the next."""
        self._ahead.clear()
        wanted = [(row, variant) for row in rows for variant in range(self.variants)]
        while wanted:
            entry, place = self._find(*wanted[0])
            stop = min(place + len(wanted), entry.pairs)
            pairs, masks = (chunks.read(place, stop) for chunks in self._chunks(entry))
            self._ahead.update(zip(wanted, zip(pairs, (mask > 0 for mask in masks), strict=True), strict=False))
            wanted = wanted[stop - place :]

    def original(self, row: int) -> Image:
        """An image as it was; uint8 (H, W, 3)."""
        return np.asarray(self._pair(row, 0)[0])

    def inpainted(self, row: int, variant: int) -> tuple[Image, Mask]:
        """A variant of an image with some objects removed, and where; an empty mask when none could be."""
        ahead = self._ahead.get((row, variant))
        if ahead is not None:
            return ahead[0][1], ahead[1]
        entry, place = self._find(row, variant)
        (mask,) = self._chunks(entry)[1].read(place, place + 1)
        return self._pair(row, variant)[1], mask > 0

    def instance_mask(self, row: int, instance: InstanceRow) -> Mask:
        """The mask of one instance at the pairs' size."""
        return resize_mask(self.index.masks(row, [instance])[0], self.size)

    def _pair(self, row: int, variant: int) -> Pair:
        ahead = self._ahead.get((row, variant))
        return ahead[0] if ahead is not None else self._read_one(row, variant)

    def _read_pair(self, row: int, variant: int) -> Pair:
        entry, place = self._find(row, variant)
        (pair,) = self._chunks(entry)[0].read(place, place + 1)
        return pair

    def _find(self, row: int, variant: int) -> tuple[ShardEntry, int]:
        """The shard that holds a variant of an image, and its place there."""
        rows = self.split_rows(row)
        split = "train" if rows.start == 0 else "val"
        item = (row - rows.start) * self.variants + variant
        number = int(np.searchsorted(self._starts[split], item, side="right")) - 1
        return self._entries[split][number], item - int(self._starts[split][number])

    def _chunks(self, entry: ShardEntry) -> tuple[ChunkReader, ChunkReader]:
        """The pairs and the masks of a shard."""
        if entry.name not in self._opened:
            shard = child(self._where, f"{entry.name}.zarr")
            self._opened[entry.name] = (
                ChunkReader(child(shard, "pair"), entry.pairs, (2, *self.size, 3)),
                ChunkReader(child(shard, "mask"), entry.pairs, self.size),
            )
        return self._opened[entry.name]
