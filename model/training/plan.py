"""Which pair comes when in an epoch: pure functions of a few numbers, so that what they promise can be proved.

Shards are read in blocks of consecutive pairs, which cost a fifth of single ones. The blocks of all shards are put in
random order, cut into one part a device, and each part goes through a shuffle buffer: of the `buffer` pairs in it a
random one leaves, and the next of the part takes its place. So memory is bounded by the buffer however large the data
set is, and a buffer as large as the data set shuffles without bias.

Every pair comes exactly once an epoch, whatever the number of devices, and nothing depends on who reads the blocks.
"""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest

Indices = npt.NDArray[np.int64]

BLOCK_PAIRS = 32
# Fourth word of a key [seed, epoch, ..., purpose]; the views of a pair have three words, that is a zero here.
FOR_BLOCKS, FOR_BUFFER, FOR_NETWORK = 1, 2, 3


def batch_sizes(pairs: int, batch_size: int, ranks: int) -> list[int]:
    """How many pairs each batch of an epoch has, over all `ranks` devices together.

    The last one takes what is left. Where that is too little to give every device a pair, it joins the batch before.

    Raises:
        BadRequest: a batch, or the whole data set, has fewer pairs than there are devices.
    """
    if min(pairs, batch_size) < ranks:
        raise BadRequest(
            f"train.devices: {ranks} devices for batches of {batch_size} of {pairs} pairs; wanted a pair for each, so"
            " use fewer devices, or raise train.batch_size or index.images"
        )
    full, left = divmod(pairs, batch_size)
    sizes = [batch_size] * full
    if left >= ranks:
        sizes.append(left)
    else:
        sizes[-1] += left
    return sizes


def rank_sizes(sizes: Sequence[int], ranks: int, rank: int) -> list[int]:
    """The part of `rank` in batches of `sizes`: at least one pair, and no two ranks differ by more than one."""
    return [size * (rank + 1) // ranks - size * rank // ranks for size in sizes]


def block_starts(counts: Sequence[int], block: int = BLOCK_PAIRS) -> Indices:
    """The first pair of every block of a data set whose shards hold `counts` pairs; no block spans two shards."""
    ends = list(accumulate(counts))
    return np.concatenate([np.arange(end - count, end, block) for end, count in zip(ends, counts, strict=True)])


def order(starts: Indices, pairs: int, parts: Sequence[int], rank: int, buffer: int, seed: int, epoch: int) -> Indices:
    """The pairs of one rank in one epoch, in the order in which it learns from them.

    Args:
        starts: of the blocks.
        pairs: in the data set.
        parts: how many pairs each rank gets in the epoch; they add up to `pairs`.
        rank: which of them.
        buffer: size of the shuffle buffer, in pairs.
        seed: of the run.
        epoch: from 1.
    """
    blocks = np.random.default_rng([seed, epoch, 0, FOR_BLOCKS]).permutation(len(starts))
    ends = np.append(starts[1:], pairs)
    stream = np.concatenate([np.arange(starts[number], ends[number]) for number in blocks])
    first = sum(parts[:rank])
    return through_buffer(
        stream[first : first + parts[rank]], buffer, np.random.default_rng([seed, epoch, rank, FOR_BUFFER])
    )


def through_buffer(stream: Indices, buffer: int, rng: np.random.Generator) -> Indices:
    """Pass `stream` through a shuffle buffer of `buffer` places; what is left in the end comes in random order."""
    held = stream[:buffer].tolist()
    following = stream[buffer:].tolist()
    places = rng.integers(max(1, len(held)), size=len(following)).tolist()
    left = []
    for place, pair in zip(places, following, strict=True):
        left.append(held[place])
        held[place] = pair
    return np.concatenate([np.array(left, np.int64), rng.permutation(held).astype(np.int64)])


def first_uses(blocks: Indices) -> Indices:
    """Each of `blocks` once, in the order in which they first appear: what to read, and when."""
    _, first = np.unique(blocks, return_index=True)
    return blocks[np.sort(first)]


def most_held(blocks: Indices, sizes: Sequence[int]) -> int:
    """How many pairs are in memory at once, at most: read with their block, and not yet part of a batch.

    Args:
        blocks: of the pairs, in their order.
        sizes: of the batches that they form.
    """
    _, first, count = np.unique(blocks, return_index=True, return_counts=True)
    read = np.zeros(len(blocks) + 1, np.int64)
    read[first + 1] = count
    ends = np.cumsum(sizes)
    return int(np.max(np.cumsum(read)[ends] - (ends - sizes), initial=0))
