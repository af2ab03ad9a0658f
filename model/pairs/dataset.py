"""The pairs of one split, read from the shards in a folder: one at a time, or a range of neighbours at once.

Where a pair has a prompt of its own, it takes the place of the original.
"""

from bisect import bisect_right
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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
from pipeline.shards import PROMPT, THE_ORIGINAL, Cache, ChunkReader, child, open_shard, read_column, read_manifest


class Pair(TypedDict):
    """One change pair."""

    pair: Tensor  # uint8 (2, H, W, 3) RGB: normal, changed
    mask: Tensor  # uint8 (H, W), 1 where the second was changed
    kind: int  # position in `PairDataset.kind_names`
    prompt_is: int  # THE_ORIGINAL, ALIGNED or ELSEWHERE: what the first is to the second before it was changed
    image_id: int  # COCO id of the original
    index: int  # of the pair in the dataset; seeds its views


@dataclass(frozen=True)
class _Open:
    """A shard opened by this process: pixels stay on disk, what is small is in memory."""

    pair: ChunkReader
    mask: ChunkReader
    prompt: ChunkReader
    prompt_is: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.uint8]
    group: npt.NDArray[np.uint16]
    image_id: npt.NDArray[np.int64]


class PairDataset(Dataset[Pair]):
    """The pairs of a split, in the manifest's order.

    Shards are opened when first read, so the dataset can be sent to loader workers, who read without its cache.

    Args:
        root: folder of the manifest.
        split: "train" or "val".
        cache: where blocks of pixels are kept that were read of a store; None: they are read anew each time.

    Raises:
        BadRequest: the folder has no manifest.
        Failure: the split is empty.
    """

    def __init__(self, root: str | Path, split: str, cache: Cache | None = None) -> None:
        self.root = Path(root)
        manifest = read_manifest(self.root)
        shards = [shard for shard in manifest.shards if shard.split == split and shard.pairs]
        if not shards:
            raise Failure(f"{root}: no pair of split {split!r}; raise index.images, or index.val_share for split 'val'")
        self.digest = manifest.digest
        self.kind_names = list(manifest.kinds)
        self.group_names = list(manifest.groups)
        self.where = manifest.where(self.root)
        self.names = [shard.name for shard in shards]
        self.counts = [shard.pairs for shard in shards]
        self.ends = list(accumulate(self.counts))  # one past the last pair of each shard
        self._keys = {shard.name: manifest.key(shard) for shard in shards}
        self._digests = {shard.name: shard.sha256 for shard in shards}
        self._cache = cache if self.in_store else None
        self._open: dict[str, _Open] = {}
        self._opening: dict[str, Lock] = {}  # of threads that want the same shard one opens it

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, index: int) -> Pair:
        name, row = self.place(index)
        shard = self._shard(name)
        batch = self._read(index, index + 1, keep=False)
        return Pair(
            pair=batch["pair"][0],
            mask=batch["mask"][0],
            kind=int(shard.kind[row]),
            prompt_is=int(shard.prompt_is[row]),
            image_id=int(shard.image_id[row]),
            index=index,
        )

    def read_range(self, first: int, end: int) -> dict[str, Tensor]:
        """Read the pairs `first` to `end` - 1, all of one shard, as a batch: several times faster than one by one.

        The cache keeps them for whoever asks for the same range again; single pairs are always fetched.
        """
        return self._read(first, end, keep=True)

    def _read(self, first: int, end: int, *, keep: bool) -> dict[str, Tensor]:
        name, row = self.place(first)
        rows = slice(row, row + end - first)
        shard = self._shard(name)
        assert rows.stop <= len(shard.kind), f"pairs {first} to {end - 1} are not all in {name}"
        prompt_is = shard.prompt_is[rows]
        pair = shard.pair.read(rows.start, rows.stop, keep=keep)
        own = np.flatnonzero(prompt_is != THE_ORIGINAL)
        if len(own):
            pair[own, 0] = shard.prompt.read(rows.start, rows.stop, keep=keep)[own]
        return {
            "pair": torch.from_numpy(pair),
            "mask": torch.from_numpy(shard.mask.read(rows.start, rows.stop, keep=keep)),
            "kind": torch.from_numpy(shard.kind[rows].astype(np.int64)),
            "prompt_is": torch.from_numpy(prompt_is.astype(np.int64)),
            "image_id": torch.from_numpy(shard.image_id[rows]),
            "index": torch.arange(first, end),
        }

    @property
    def in_store(self) -> bool:
        """Whether the shards are read over a network."""
        return not isinstance(self.where, Path)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the stage made all shards with, by section; nothing where they do not say."""
        attributes = open_shard(self.where, self._keys[self.names[0]]).attributes
        return dict(attributes.get("parameters", {}))

    def kinds(self) -> npt.NDArray[np.uint8]:
        """The kind of every pair, a position in `kind_names`."""
        return np.concatenate([self._shard(name).kind for name in self.names])

    def groups(self) -> npt.NDArray[np.uint16]:
        """The group of every pair, a position in `group_names`."""
        return np.concatenate([self._shard(name).group for name in self.names])

    def image_ids(self) -> npt.NDArray[np.int64]:
        """The image of every pair."""
        return np.concatenate([self._shard(name).image_id for name in self.names])

    def prompts_are(self) -> npt.NDArray[np.uint8]:
        """What the prompt of every pair is: THE_ORIGINAL, ALIGNED or ELSEWHERE."""
        return np.concatenate([self._shard(name).prompt_is for name in self.names])

    def place(self, index: int) -> tuple[str, int]:
        """The shard that holds a pair, and the pair's number in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        number = bisect_right(self.ends, index)
        return self.names[number], index - (self.ends[number - 1] if number else 0)

    def __getstate__(self) -> dict[str, object]:
        # An open shard holds threads and locks of its process, and a cache counts what its process keeps.
        return self.__dict__ | {"_open": {}, "_opening": {}, "_cache": None}

    def _shard(self, name: str) -> _Open:
        with self._opening.setdefault(name, Lock()):
            if name not in self._open:
                self._open[name] = self._opened(name)
            return self._open[name]

    def _opened(self, name: str) -> _Open:
        shard, place = open_shard(self.where, self._keys[name]), child(self.where, f"{self._keys[name]}.zarr")
        digest = shard.entry.sha256
        if digest != self._digests[name]:
            raise Failure(
                f"{place}: not the shard that {self.root}/manifest.json names as {name}; run `dvc checkout` or"
                " `dvc repro`"
            )

        def reader(array: str, values: zarr.Array[Any]) -> ChunkReader:
            count, *shape = values.shape
            return ChunkReader(child(place, array), count, tuple(shape), self._cache, f"{digest}-{array}")

        columns = shard.prompt_is, shard.kind, shard.group, shard.image_id
        with ThreadPoolExecutor(len(columns)) as pool:  # each is a request or two to a store
            numbers = pool.map(partial(read_column, place), columns)
        readers = reader("pair", shard.pair), reader("mask", shard.mask), reader(PROMPT, shard.extra[PROMPT])
        return _Open(*readers, *numbers)
