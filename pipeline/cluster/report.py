"""A report of the run: how fast each shard and worker was, where the time went, and what a million pairs would cost.

.work/runs/synth.json   of the shards that this run made; what was there already took no time
.work/runs/synth.png
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distributed import get_worker
from matplotlib.figure import Figure

from pipeline import steps
from pipeline.shards import ShardEntry, ShardJob, child, file_sizes, shelf_name

SLOWEST = 5
REST = "the rest"  # of a job's time, what no step counts


@dataclass(frozen=True)
class Timing:
    """What one shard took."""

    shard: str
    worker: str
    images: int
    pairs: int
    seconds: float
    steps: dict[str, float]  # seconds; together `seconds`
    bytes: int  # on the disk, or in the store


def timed(work: Callable[[ShardJob], ShardEntry], shelf: Path, job: ShardJob) -> tuple[ShardEntry, Timing]:
    """Do a job (on a Dask worker), and say what it took."""
    steps.take()
    start = time.perf_counter()
    entry = work(job)
    seconds = time.perf_counter() - start
    spent = steps.take()
    spent[REST] = max(seconds - sum(spent.values()), 0.0)
    size = sum(file_sizes(child(job.store or shelf.absolute(), f"{shelf_name(job.fingerprint)}.zarr")).values())
    images = job.part.stop - job.part.first
    worker = f"{socket.gethostname()} {get_worker().name}"
    return entry, Timing(entry.name, worker, images, entry.pairs, seconds, spent, size)


def write_report(folder: Path, description: str, timings: Sequence[Timing], kept: int, seconds: float) -> str:
    """Write the report of a run as JSON and as a picture; a line of it for the terminal.

    Args:
        folder: that they go to.
        description: the stage, which names them.
        timings: of the shards that were made, at least one.
        kept: shards that were there.
        seconds: that the run took, start of the workers included.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = summary_of(timings, kept, seconds)
    shards = [_rounded(asdict(timing)) for timing in sorted(timings, key=lambda timing: timing.shard)]
    path = folder / f"{description}.json"
    path.write_text(json.dumps({"stage": description, **said, "shards": shards}, indent=1) + "\n")
    _draw(path.with_suffix(".png"), description, said, timings)
    return (
        f"{said['pairs_per_second']:.1f} pairs/s; a million pairs: {said['worker_hours_per_million']:.1f} worker-hours,"
        f" {said['gigabytes_per_million']:.0f} GB; {path.with_suffix('.png')}"
    )


def summary_of(timings: Sequence[Timing], kept: int, seconds: float) -> dict[str, Any]:
    """The figures of the whole run."""
    pairs, size = sum(timing.pairs for timing in timings), sum(timing.bytes for timing in timings)
    spent, by_step = sum(timing.seconds for timing in timings), Counter[str]()
    workers: dict[str, list[Timing]] = {}
    for timing in timings:
        by_step.update(timing.steps)
        workers.setdefault(timing.worker, []).append(timing)
    slowest = sorted(timings, key=lambda timing: timing.seconds, reverse=True)[:SLOWEST]
    return {
        "made": len(timings),
        "kept": kept,
        "pairs": pairs,
        "bytes": size,
        "seconds": round(seconds, 3),
        "pairs_per_second": round(pairs / seconds, 3),
        "worker_hours_per_million": round(spent / max(pairs, 1) * 1e6 / 3600, 4),
        "gigabytes_per_million": round(size / max(pairs, 1) * 1e6 / 1e9, 3),
        "seconds_by_step": {name: round(by_step[name], 3) for name in sorted(by_step)},
        "workers": {
            worker: {
                "shards": len(own),
                "pairs": sum(timing.pairs for timing in own),
                "busy_seconds": round(sum(timing.seconds for timing in own), 3),
                "pairs_per_second": round(sum(timing.pairs for timing in own) / sum(t.seconds for t in own), 3),
            }
            for worker, own in sorted(workers.items())
        },
        "slowest_shards": {timing.shard: round(timing.seconds, 3) for timing in slowest},
    }


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    values["steps"] = {name: round(seconds, 4) for name, seconds in values["steps"].items()}
    return {**values, "seconds": round(values["seconds"], 4)}


def _draw(path: Path, description: str, said: dict[str, Any], timings: Sequence[Timing]) -> None:
    """Pairs a second of each shard by worker, and where the time went."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    of_shards, of_steps = figure.subplots(1, 2, width_ratios=(3, 1))
    for worker in said["workers"]:
        own = [timing for timing in timings if timing.worker == worker]
        places = [int(timing.shard.rpartition("_")[2]) for timing in own]
        label = f"{worker}: {said['workers'][worker]['pairs_per_second']:.0f} pairs/s"
        of_shards.plot(places, [timing.pairs / timing.seconds for timing in own], ".", label=label)
    of_shards.set(xlabel="shard", ylabel="pairs/s", ylim=(0, None))
    of_shards.set_title(f"{description}: {said['pairs']:,} pairs in {said['seconds']:.0f} s", loc="left")
    if len(said["workers"]) <= 8:
        of_shards.legend(fontsize="small")
    of_shards.grid(alpha=0.3)
    spent = said["seconds_by_step"]
    of_steps.barh(list(spent), list(spent.values()))
    of_steps.set(xlabel="worker seconds")
    of_steps.invert_yaxis()
    figure.savefig(path, dpi=110)
