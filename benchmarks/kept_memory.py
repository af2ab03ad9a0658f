"""What a training step costs with freed memory kept (`train.keep_memory`) and given back, side by side.

    python -m benchmarks.kept_memory --params configs/coco400_best.yaml --pairs data/pairs

Each turn is a process of its own, as the setting is the process's; ways take turns, so that a busy machine slows both.
A step is the learner's own, on the first pairs of the folder: loss, gradient, clipping and update. Linux with glibc.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from configs.errors import run
from configs.section import load
from configs.train import TrainParams
from model.kept_memory import keep_freed_memory
from model.pairs import PairDataset
from model.training.devices import Devices
from model.training.feed import Feed
from model.training.metauas import make_learner
from pipeline.shards.provenance import ROOT

WARM_UP = 3  # steps
WAYS = {"given back": False, "kept": True}


def measure(params_file: Path, pairs: Path, steps: int) -> dict[str, float]:
    """Milliseconds of a step, of them in the kernel, and the peak of memory, of this process."""
    params = load(TrainParams, params_file)
    training, validation = (PairDataset(pairs, split) for split in ("train", "val"))
    learner = make_learner(params, training, validation, steps + WARM_UP, Devices(torch.device("cpu")))
    learner.network.train()
    batch = next(Feed(training, params.train.batch_size).epoch(1))
    seconds, kernel = [], []
    for number in range(steps + WARM_UP):
        draws = learner.draw(batch, 1)
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_stime
        float(learner.step(batch, draws, 1, number, number).loss)
        seconds.append(time.perf_counter() - start)
        kernel.append(resource.getrusage(resource.RUSAGE_SELF).ru_stime - before)
    return {
        "ms": 1000 * median(seconds[WARM_UP:]),
        "kernel_ms": 1000 * median(kernel[WARM_UP:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml", help="of a MetaUAS")
    parser.add_argument("--pairs", type=Path, default=ROOT / "data" / "pairs", help="folder of shards")
    parser.add_argument("--turns", type=int, default=3, help="processes of each way (default 3)")
    parser.add_argument("--steps", type=int, default=12, help="that count, in each (default 12)")
    parser.add_argument("--way", choices=tuple(WAYS), help="only print one turn of one way, in this process")
    args = parser.parse_args()
    if args.way:
        if WAYS[args.way]:
            keep_freed_memory()
        print(json.dumps(measure(args.params, args.pairs, args.steps)))
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(args.turns):
        for way, turns in found.items():
            own = ["--params", str(args.params), "--pairs", str(args.pairs), "--steps", str(args.steps), "--way", way]
            command = [sys.executable, "-m", "benchmarks.kept_memory", *own]
            shown = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)
            if shown.returncode:
                raise SystemExit(shown.returncode)  # it has said why
            turns.append(json.loads(shown.stdout.splitlines()[-1]))
    table = Table("freed memory", "ms a step", "turns", "of them in the kernel", "peak MB")
    for way, turns in found.items():
        every = ", ".join(f"{turn['ms']:.0f}" for turn in turns)
        middle = {name: median(turn[name] for turn in turns) for name in turns[0]}
        table.add_row(way, f"{middle['ms']:.0f}", every, f"{middle['kernel_ms']:.0f}", f"{middle['peak_mb']:.0f}")
    Console().print(table)


if __name__ == "__main__":
    run(main)
