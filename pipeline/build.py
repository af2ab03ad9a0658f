"""Making a folder of shards: one job, one shard, one writer. What is already there and right is kept."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.cluster import Cluster
from configs.errors import Failure
from pipeline.cluster import connect, run_jobs
from pipeline.progress import track
from pipeline.provenance import fingerprint
from pipeline.shards import (
    MANIFEST,
    Manifest,
    ShardEntry,
    is_intact,
    open_shard,
    shard_name,
    shard_names,
    shard_path,
    write_manifest,
)


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


def plan_shards(counts: dict[str, int], per_shard: int, attributes: dict[str, Any]) -> list[ShardJob]:
    """One job per shard of at most `per_shard` of the `counts[split]` items; `attributes` are common to all."""
    jobs = []
    for number, part in enumerate(split_into_parts(counts, per_shard)):
        own = {**attributes, "split": part.split, "items": [part.first, part.stop]}
        jobs.append(ShardJob(shard_name(number), part, own, fingerprint(own)))
    return jobs


def split_into_parts(counts: dict[str, int], per_shard: int) -> list[Part]:
    """Cut `counts[split]` items of each split into runs of at most `per_shard`; no run crosses a split."""
    return [
        Part(split, first, min(first + per_shard, count))
        for split, count in counts.items()
        for first in range(0, count, per_shard)
    ]


def build_shards(
    root: Path, jobs: Sequence[ShardJob], work: Callable[[ShardJob], ShardEntry], cluster: Cluster, description: str
) -> Manifest:
    """Make the shards of `jobs` that are not yet there, remove any others, and write the manifest.

    A shard that is there is kept when its fingerprint is its job's and its bytes are those that were written.
    """
    root.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root, {job.name for job in jobs})
    entries = [entry for job in jobs if (entry := finished(root, job)) is not None]
    made = {entry.name for entry in entries}
    missing = [job for job in jobs if job.name not in made]
    if made:
        print(f"{description}: {len(made)} of {len(jobs)} shards are already there and kept", file=sys.stderr)
    if missing:
        (root / MANIFEST).unlink(missing_ok=True)  # it would not be true of a folder whose work is interrupted
        with connect(cluster) as client:
            print(f"{description}: Dask dashboard at {client.dashboard_link}", file=sys.stderr)
            results = run_jobs(client, work, missing)
            entries += track(results, f"{description} shards", len(jobs), done=len(made))
    assert len(entries) == len(jobs), "every job gives one shard"
    return write_manifest(root, entries)


def finished(root: Path, job: ShardJob) -> ShardEntry | None:
    """The entry of a job's shard if it is there, made from the same things, and whole."""
    if not shard_path(root, job.name).exists():
        return None
    try:
        entry = open_shard(root, job.name).entry
    except (Failure, KeyError, TypeError):
        return None
    if entry.fingerprint != job.fingerprint:
        return None
    if not is_intact(root, entry):
        print(f"{shard_path(root, job.name)}: its bytes are not those that were written; made again", file=sys.stderr)
        return None
    return entry


def summary(manifest: Manifest) -> str:
    """One line on what a folder of shards holds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in manifest.kinds.items() if count)
    return f"{sum(manifest.kinds.values())} pairs in {len(manifest.shards)} shards: {kinds}"


def _remove_leftovers(root: Path, wanted: set[str]) -> None:
    """Remove what an interrupted run left half written, and shards that no job makes any more."""
    for path in root.glob("*.partial*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in shard_names(root):
        if name not in wanted:
            shutil.rmtree(shard_path(root, name))
