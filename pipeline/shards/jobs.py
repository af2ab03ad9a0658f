"""Which shards a stage makes: one job, one shard, and all that the shard depends on."""

from dataclasses import dataclass
from typing import Any

from pipeline.shards.format import shard_name
from pipeline.shards.provenance import fingerprint


@dataclass(frozen=True)
class Part:
    """A run of consecutive items of one split that one shard holds."""

    split: str
    first: int
    stop: int  # exclusive


@dataclass(frozen=True)
class ShardJob:
    """One shard to be made: all of it that differs between the shards of a stage."""

    name: str  # "shard_0003"
    part: Part
    attributes: dict[str, Any]  # everything the shard depends on, kept in it
    fingerprint: str  # of the attributes
    store: str | None  # URL of the folder it goes to; None: beside the manifest


def plan_shards(
    counts: dict[str, int], per_shard: int, attributes: dict[str, Any], store: str | None = None
) -> list[ShardJob]:
    """One job per shard of at most `per_shard` of the `counts[split]` items; `attributes` are common to all.

    In a `store` the shards go to a folder named after what they are made from: another run never overwrites shards that
    an older manifest, a commit ago, speaks of.
    """
    folder = f"{store.rstrip('/')}/{fingerprint({**attributes, 'per_shard': per_shard})[:16]}" if store else None
    jobs = []
    for number, part in enumerate(split_into_parts(counts, per_shard)):
        own = {**attributes, "split": part.split, "items": [part.first, part.stop]}
        jobs.append(ShardJob(shard_name(number), part, own, fingerprint(own), folder))
    return jobs


def split_into_parts(counts: dict[str, int], per_shard: int) -> list[Part]:
    """Cut `counts[split]` items of each split into runs of at most `per_shard`; no run crosses a split."""
    return [
        Part(split, first, min(first + per_shard, count))
        for split, count in counts.items()
        for first in range(0, count, per_shard)
    ]
