"""Making a folder of shards: one job, one shard, one writer. What was made before, and is right, is taken as it is.

Shards are made on a shelf, a folder or a store in which each lies under the fingerprint of all that it depends on, and
are linked from there into the folder that DVC tracks. So going back to earlier parameters finds earlier shards, an
interrupted run goes on, and nothing lies on the disk twice.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from configs.cluster import Cluster
from configs.errors import Failure
from pipeline.cluster.client import connect, run_jobs
from pipeline.cluster.report import Timing, timed, write_report
from pipeline.linked import show
from pipeline.progress import track
from pipeline.shards import (
    PAIRS,
    Manifest,
    ShardEntry,
    ShardJob,
    check_store,
    child,
    entry_of,
    is_intact,
    names,
    read_attributes,
    shard_path,
    shelf_name,
    write_manifest,
)

RUNS = Path(".work/runs")  # reports of the last run of each stage


def build_shards(
    root: Path,
    shelf: Path,
    jobs: Sequence[ShardJob],
    work: Callable[[ShardJob], ShardEntry],
    cluster: Cluster,
    description: str,
    form: str = PAIRS,
) -> Manifest:
    """Make the shards of `jobs` that are not on the shelf yet, link all into `root`, and write the manifest.

    A shard that is there is taken when its bytes are those that were written. All are of one format, `form`.

    Raises:
        BadRequest: the store or the scheduler cannot be reached.
        Failure: a shard could not be made, those that were are kept; or a split has come out without a pair.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    store = jobs[0].store
    if store is not None:
        check_store(store)
    _remove_partial(shelf)
    entries = []
    for entry in _there(shelf, jobs, description):
        entries.append(entry)
        _link(root, shelf, entry, store)
    made = {entry.name for entry in entries}
    if made:
        print(f"{description}: {len(made)} of {len(jobs)} shards are already there and kept", file=sys.stderr)
    missing = [job for job in jobs if job.name not in made]
    if missing:
        images = {job.name: job.part.stop - job.part.first for job in jobs}
        start, timings = time.perf_counter(), list[Timing]()
        with connect(cluster) as client:
            print(f"{description}: Dask dashboard at {client.dashboard_link}", file=sys.stderr)
            for entry, timing in track(
                run_jobs(client, partial(timed, work, shelf), missing),
                f"{description} images",
                sum(images.values()),
                done=sum(images[name] for name in made),
                size=lambda found: images[found[0].name],
            ):
                entries.append(entry)
                timings.append(timing)
                _link(root, shelf, entry, store)
        told = write_report(RUNS, description, timings, len(made), time.perf_counter() - start)
        print(f"{description}: {told}", file=sys.stderr)
    assert len(entries) == len(jobs), "every job gives one shard"
    for split in {job.part.split for job in jobs}:
        if not any(entry.pairs for entry in entries if entry.split == split):
            raise Failure(f"{description}: no pair of split {split} came out; see what was drawn in vain: widen areas")
    return write_manifest(root, entries, store, form)


def finished(shelf: Path, job: ShardJob) -> ShardEntry | None:
    """The entry of a job's shard if it is there and whole."""
    path = child(job.store or shelf, f"{shelf_name(job.fingerprint)}.zarr")
    try:
        entry = entry_of(job.name, read_attributes(path)["entry"])
    except (Failure, KeyError, TypeError):
        return None
    if entry.fingerprint != job.fingerprint or not is_intact(path, entry):
        print(f"{path}: its bytes are not those that were written; made again", file=sys.stderr)
        return None
    return entry


def summary(manifest: Manifest) -> str:
    """One line on what a folder of shards holds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in manifest.kinds.items() if count)
    pairs = sum(manifest.kinds.values())
    return f"{pairs} pairs ({manifest.distinct} distinct) in {len(manifest.shards)} shards: {kinds}"


def _there(shelf: Path, jobs: Sequence[ShardJob], description: str) -> Iterator[ShardEntry]:
    """The entries of the jobs' shards that are there; their bytes are read, on all cores."""
    lying = set(names(jobs[0].store or shelf))
    found = [job for job in jobs if f"{shelf_name(job.fingerprint)}.zarr" in lying]
    if not found:
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checked = pool.map(lambda job: finished(shelf, job), found)
        yield from (entry for entry in track(checked, f"{description} shards checked", len(found)) if entry)


def _link(root: Path, shelf: Path, entry: ShardEntry, store: str | None) -> None:
    """Show a local shard under its number; a store's is found by the manifest alone."""
    if store is None:
        show(shard_path(shelf, shelf_name(entry.fingerprint)), shard_path(root, entry.name))


def _remove_partial(shelf: Path) -> None:
    """Remove what an interrupted run left half written."""
    for path in shelf.glob("*.partial*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
