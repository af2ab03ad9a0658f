"""Which shards a stage makes: one job, one shard, and all that the shard depends on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.shards.format import shard_name
from pipeline.shards.provenance import fingerprint

RANK_BITS = 63  # of an image's rank


@dataclass(frozen=True)
class Part:
    """A run of consecutive images of one split, whose pairs one shard holds."""

    split: str
    first: int  # place of the first image in its split
    stop: int  # exclusive


@dataclass(frozen=True)
class ShardJob:
    """One shard to be made: all of it that differs between the shards of a stage."""

    name: str  # "shard_0003"
    part: Part
    attributes: dict[str, Any]  # everything the shard depends on, kept in it
    fingerprint: str  # of the attributes
    store: str | None  # URL of the folder it goes to; None: onto the shelf of this machine


def plan_shards(
    ranks: Mapping[str, Sequence[int]],
    images_per_shard: int,
    attributes: Mapping[str, Any],
    of_part: Callable[[Part], Mapping[str, Any]],
    store: str | None = None,
) -> list[ShardJob]:
    """One job per shard of at most `images_per_shard` of the images of each split.

    Args:
        ranks: of the images of each split, ascending.
        images_per_shard: at most.
        attributes: common to all shards.
        of_part: what else a part's shard depends on; not where the part stands, which other images change.
        store: URL of a folder; None: the shelf.
    """
    jobs: list[ShardJob] = []
    for split, own_ranks in ranks.items():
        for first, stop in cut_by_rank(own_ranks, images_per_shard):
            part = Part(split, first, stop)
            own = {**attributes, "split": split, **of_part(part)}
            jobs.append(ShardJob(shard_name(len(jobs)), part, own, fingerprint(own), store and store.rstrip("/")))
    return jobs


def cut_by_rank(ranks: Sequence[int], most: int, bit: int = RANK_BITS) -> list[tuple[int, int]]:
    """Cut places 0 .. len(ranks) - 1 into runs of at most `most`: (first, stop), in order.

    A run that is too long is cut where the highest bit of its ranks changes, its halves where the next one does: what
    a run holds follows from the ranks in it, so an image more or less changes the run that it is in and no other.

    Args:
        ranks: ascending, of at most `bit` bits, no two alike.
        most: at least 1.
        bit: how many bits are left to tell ranks apart by.
    """
    if not ranks:
        return []
    if len(ranks) <= most:
        return [(0, len(ranks))]
    half = 1 << (bit - 1)
    middle = sum(rank & half == 0 for rank in ranks)
    upper = cut_by_rank(ranks[middle:], most, bit - 1)
    return cut_by_rank(ranks[:middle], most, bit - 1) + [(first + middle, stop + middle) for first, stop in upper]
