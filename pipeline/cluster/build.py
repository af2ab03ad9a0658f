"""Making a folder of shards: one job, one shard, one writer. What is already there and right is kept."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.cluster import Cluster
from configs.errors import Failure
from pipeline.cluster.client import connect, run_jobs
from pipeline.progress import track
from pipeline.shards import (
    MANIFEST,
    Manifest,
    ShardEntry,
    ShardJob,
    check_store,
    child,
    is_intact,
    open_shard,
    shard_names,
    shard_path,
    write_manifest,
)


def build_shards(
    root: Path, jobs: Sequence[ShardJob], work: Callable[[ShardJob], ShardEntry], cluster: Cluster, description: str
) -> Manifest:
    """Make the shards of `jobs` that are not yet there, remove any others from `root`, and write the manifest.

    A shard that is there is kept when its fingerprint is its job's and its bytes are those that were written.

    Raises:
        BadRequest: the store or the scheduler cannot be reached.
        Failure: a shard could not be made; those that were are kept.
    """
    root.mkdir(parents=True, exist_ok=True)
    store = jobs[0].store
    if store is not None:
        check_store(store)
    _remove_partial(root)
    entries = [entry for job in jobs if (entry := finished(root, job)) is not None]
    made = {entry.name for entry in entries}
    missing = [job for job in jobs if job.name not in made]
    if made:
        print(f"{description}: {len(made)} of {len(jobs)} shards are already there and kept", file=sys.stderr)
    if missing:
        (root / MANIFEST).unlink(missing_ok=True)  # it would not be true of a folder whose work is interrupted
        items = {job.name: job.part.stop - job.part.first for job in jobs}
        with connect(cluster) as client:
            print(f"{description}: Dask dashboard at {client.dashboard_link}", file=sys.stderr)
            entries += track(
                run_jobs(client, work, missing),
                f"{description} pairs",
                sum(items.values()),
                done=sum(items[name] for name in made),
                size=lambda entry: items[entry.name],
            )
    assert len(entries) == len(jobs), "every job gives one shard"
    _remove_others(root, {job.name for job in jobs if store is None})
    return write_manifest(root, entries, store)


def finished(root: Path, job: ShardJob) -> ShardEntry | None:
    """The entry of a job's shard if it is there, made from the same things, and whole."""
    where = job.store or root
    try:
        entry = open_shard(where, job.name).entry
    except (Failure, KeyError, TypeError):
        return None
    if entry.fingerprint != job.fingerprint:
        return None
    if not is_intact(where, entry):
        path = child(where, f"{job.name}.zarr")
        print(f"{path}: its bytes are not those that were written; made again", file=sys.stderr)
        return None
    return entry


def summary(manifest: Manifest) -> str:
    """One line on what a folder of shards holds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in manifest.kinds.items() if count)
    return f"{sum(manifest.kinds.values())} pairs in {len(manifest.shards)} shards: {kinds}"


def _remove_partial(root: Path) -> None:
    """Remove what an interrupted run left half written."""
    for path in root.glob("*.partial*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _remove_others(root: Path, wanted: set[str]) -> None:
    """Remove shards that no job makes any more."""
    for name in shard_names(root):
        if name not in wanted:
            shutil.rmtree(shard_path(root, name))
