"""The pairs of one split, read from the shards in a folder: one at a time, or a range of neighbours at once."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import torch
import zarr
from torch import Tensor
from torch.utils.data import Dataset

from configs.errors import Failure
from pipeline.shards import open_shard, read_manifest

# Zarr's settings are the process's: of two threads that set the codec to open a shard, one would open it with another.
_OPENING = Lock()


class Pair(TypedDict):
    """One change pair."""

    pair: Tensor  # uint8 (2, H, W, 3) RGB: original, changed
    mask: Tensor  # uint8 (H, W), 1 where the two differ by intent
    kind: int  # position in `pipeline.shards.KINDS`
    image_id: int  # COCO id of the original
    index: int  # of the pair in the dataset; seeds its views


@dataclass(frozen=True)
class _Open:
    """A shard opened by this process: pixels stay on disk, what is small is in memory."""

    pair: zarr.Array[Any]
    mask: zarr.Array[Any]
    kind: npt.NDArray[np.uint8]
    image_id: npt.NDArray[np.int64]


class PairDataset(Dataset[Pair]):
    """The pairs of a split, in the manifest's order.

    Shards are opened when first read, so the dataset can be sent to loader workers.

    Raises:
        BadRequest: the folder has no manifest.
        Failure: the split is empty.
    """

    def __init__(self, root: str | Path, split: str) -> None:
        self.root = Path(root)
        manifest = read_manifest(self.root)
        shards = [shard for shard in manifest.shards if shard.split == split and shard.pairs]
        if not shards:
            raise Failure(f"{root}: no pair of split {split!r}; raise index.images, or index.val_share for split 'val'")
        self.digest = manifest.digest
        self.where = manifest.where(self.root)
        self.names = [shard.name for shard in shards]
        self._keys = {shard.name: manifest.key(shard) for shard in shards}
        self.counts = [shard.pairs for shard in shards]
        self.ends = list(accumulate(self.counts))  # one past the last pair of each shard
        self._open: dict[str, _Open] = {}

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Pair:
        name, row = self.place(index)
        shard = self._shard(name)
        return Pair(
            pair=torch.from_numpy(np.asarray(shard.pair[row])),
            mask=torch.from_numpy(np.asarray(shard.mask[row])),
            kind=int(shard.kind[row]),
            image_id=int(shard.image_id[row]),
            index=index,
        )

    def read_range(self, first: int, end: int) -> dict[str, Tensor]:
        """Read the pairs `first` to `end` - 1, all of one shard, as a batch: several times faster than one by one."""
        name, row = self.place(first)
        rows = slice(row, row + end - first)
        shard = self._shard(name)
        assert rows.stop <= len(shard.kind), f"pairs {first} to {end - 1} are not all in {name}"
        return {
            "pair": torch.from_numpy(np.asarray(shard.pair[rows])),
            "mask": torch.from_numpy(np.asarray(shard.mask[rows])),
            "kind": torch.from_numpy(shard.kind[rows].astype(np.int64)),
            "image_id": torch.from_numpy(shard.image_id[rows]),
            "index": torch.arange(first, end),
        }

    def kinds(self) -> npt.NDArray[np.uint8]:
        """The kind of every pair, a position in `pipeline.shards.KINDS`."""
        return np.concatenate([self._shard(name).kind for name in self.names])

    def place(self, index: int) -> tuple[str, int]:
        """The shard that holds a pair, and the pair's number in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        number = bisect_right(self.ends, index)
        return self.names[number], index - (self.ends[number - 1] if number else 0)

    def __getstate__(self) -> dict[str, object]:
        # An open shard holds threads and locks of its process.
        return self.__dict__ | {"_open": {}}

    def _shard(self, name: str) -> _Open:
        with _OPENING:
            if name not in self._open:
                shard = open_shard(self.where, self._keys[name])
                kind, image_id = np.asarray(shard.kind[:]), np.asarray(shard.image_id[:])
                self._open[name] = _Open(shard.pair, shard.mask, kind, image_id)
            return self._open[name]
