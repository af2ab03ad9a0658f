"""Batches of pairs in the order of a plan: blocks come from the shards into a bounded pool, read ahead by threads.

Threads, not processes: zstd decodes without Python's lock, and handing pixels from process to process
costs half as much again as reading them. Nor is there anything to start, or to be left behind by a killed run.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from model.pairs import PairDataset
from model.training.plan import Indices, batch_sizes, block_starts, first_uses, most_held, order, rank_sizes

Batch = dict[
    str, Tensor
]  # "pair" uint8 (B, 2, H, W, 3), "mask" uint8 (B, H, W); int64 (B,) "kind", "prompt_is", "image_id", "index"

BLOCKS_AHEAD = 4  # read by each worker before they are used


class Feed:
    """The batches of one rank, epoch by epoch, from any batch on.

    Which pairs make a batch depends on the arguments and the epoch alone: neither on `workers`, nor on where an epoch
    was begun. In memory are at most `buffer` pairs, a block and a batch, and what workers have read ahead.

    Args:
        dataset: what to read.
        batch_size: pairs in a batch of all ranks together; the last one is what is left, and no pair is dropped.
        buffer: of the shuffle, in pairs (`model.training.plan`); None: the pairs come as they are stored.
        seed: of the run.
        workers: threads that read ahead; 0: blocks are read when they are needed. Of a store, where threads wait more
            than they work, there are BLOCKS_AHEAD times as many.
        ranks: how many processes learn together.
        rank: which of them this is.

    Raises:
        BadRequest: there are fewer pairs in a batch than ranks.
    """

    def __init__(
        self,
        dataset: PairDataset,
        batch_size: int,
        *,
        buffer: int | None = None,
        seed: int = 0,
        workers: int = 0,
        ranks: int = 1,
        rank: int = 0,
    ) -> None:
        self.dataset = dataset
        self.buffer = buffer
        self.seed = seed
        self.workers = workers
        self.rank = rank
        self.batch_sizes = batch_sizes(len(dataset), batch_size, ranks)  # of all ranks together
        self._parts = [rank_sizes(self.batch_sizes, ranks, each) for each in range(ranks)]
        self._starts = block_starts(dataset.counts)

    def epoch(self, epoch: int, consumed: int = 0) -> Iterator[Batch]:
        """Yield the batches of `epoch`, from 1, after the first `consumed` of them."""
        sizes = self._parts[self.rank]
        left = self._order(epoch)[sum(sizes[:consumed]) :]
        sizes = sizes[consumed:]
        if not sizes:
            return
        blocks = np.searchsorted(self._starts, left, side="right") - 1
        pool = _Pool(len(self.dataset), left, most_held(blocks, sizes))
        read = self._read(first_uses(blocks))
        for pairs in np.split(left, np.cumsum(sizes)[:-1]):
            while not pool.has(pairs):
                pool.put(next(read))
            yield pool.take(pairs)

    def _read(self, blocks: Indices) -> Iterator[Batch]:
        """Yield `blocks` in their order."""
        ends = np.append(self._starts[1:], len(self.dataset))
        bounds = zip(self._starts[blocks].tolist(), ends[blocks].tolist(), strict=True)
        if not self.workers:
            yield from (self.dataset.read_range(first, end) for first, end in bounds)
            return
        coming: deque[Future[Batch]] = deque()
        at_once = BLOCKS_AHEAD if self.dataset.in_store else 1
        threads = ThreadPoolExecutor(self.workers * at_once, "feed")
        try:
            for first, end in bounds:
                coming.append(threads.submit(self.dataset.read_range, first, end))
                if len(coming) > self.workers * BLOCKS_AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _order(self, epoch: int) -> Indices:
        if self.buffer is None:
            return np.arange(len(self.dataset))
        parts = [sum(sizes) for sizes in self._parts]
        return order(self._starts, len(self.dataset), parts, self.rank, self.buffer, self.seed, epoch)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch with its pixels on a device. Its numbers stay where they are: to read them there is to wait for it."""
    return batch | {name: batch[name].to(device, non_blocking=True) for name in ("pair", "mask")}


class _Pool:
    """Pairs that were read and wait for their batch, in `places` rows of one allocation.

    Args:
        pairs: in the data set.
        wanted: those that will be taken; others of their blocks are not kept.
        places: how many wait at once, at most.
    """

    def __init__(self, pairs: int, wanted: Indices, places: int) -> None:
        self._wanted = np.zeros(pairs, np.bool_)
        self._wanted[wanted] = True
        self._place = np.full(pairs, -1)  # of a pair that waits
        self._free = np.arange(places)
        self._rows: Batch = {}

    def has(self, pairs: Indices) -> bool:
        return bool((self._place[pairs] >= 0).all())

    def put(self, block: Batch) -> None:
        indices = block["index"].numpy()
        kept = np.flatnonzero(self._wanted[indices])
        if not self._rows:
            self._rows = {name: values.new_empty(len(self._free), *values.shape[1:]) for name, values in block.items()}
        places, self._free = np.split(self._free, [len(kept)])
        self._place[indices[kept]] = places
        for name, values in block.items():
            target, source = self._rows[name].numpy(), values.numpy()
            for place, row in zip(places, kept, strict=True):  # without the copy that indexing by `kept` would make
                target[place] = source[row]

    def take(self, pairs: Indices) -> Batch:
        places = self._place[pairs]
        self._place[pairs] = -1
        self._free = np.concatenate([self._free, places])
        return {name: _gather(values, places) for name, values in self._rows.items()}


def _gather(values: Tensor, places: Indices) -> Tensor:
    """Rows of `values`, in memory that a GPU can fetch from by itself where there is one."""
    rows = values.new_empty(len(places), *values.shape[1:], pin_memory=torch.cuda.is_available())
    # Four times as fast as `torch.index_select`; with "raise" numpy would copy through a buffer.
    np.take(values.numpy(), places, axis=0, out=rows.numpy(), mode="clip")
    return rows
