"""What MetaCAN costs at the size of ViT-B-16-plus-240: an image's features, and an outer step of 15 categories.

    python -m benchmarks.metacan_cost       # some minutes on two cores; weights are random, on which no time hangs

Both recipes, by second and by first order, in one run, each in a process of its own: memory is its peak above what it
held before the first step.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch
from rich.console import Console
from rich.table import Table

from model.encoders import ClipSizes
from model.metacan import PAPER, RELEASED, MetaCAN, Recipe, Task, image_tokens, outer_step

IMAGES = 8  # that the tower sees at once, as stage `features` does
REPETITIONS = 3
SIZES = ClipSizes()
ALL_COUNT = replace(RELEASED, only_last_task=False)  # which the release computes, too, and then drops
WAYS = {
    "release, first order": replace(ALL_COUNT, first_order=True),
    "release": ALL_COUNT,
    "paper, first order": replace(PAPER, first_order=True),
    "paper": PAPER,
}


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Median seconds, and MiB that the peak of memory rose by."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = []
    for _ in range(1 + REPETITIONS):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    risen = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return statistics.median(found[1:]), risen / 1024


def features_of_an_image() -> tuple[float, float]:
    network = MetaCAN(sizes=SIZES)
    images = torch.rand(IMAGES, 3, SIZES.image_px, SIZES.image_px)
    seconds, risen = measured(lambda: image_tokens(network.tower, network.blocks, SIZES.image_px, images))
    return seconds / IMAGES, risen


def step_of_a_task(recipe: Recipe) -> tuple[float, float]:
    torch.manual_seed(0)
    network = MetaCAN(sizes=SIZES)
    network.set_text(torch.randn(7, SIZES.embedding), torch.randn(4, SIZES.embedding))

    def features(count: int) -> torch.Tensor:
        return torch.randn(count, 3, SIZES.patches, SIZES.width)

    sets = [part for count in (recipe.support, recipe.query) for part in (features(count), torch.arange(count) % 2)]
    own = Task(features(recipe.shots), *sets)
    optimizer = torch.optim.Adam(network.detector.parameters(), lr=recipe.outer_lr)
    return measured(lambda: outer_step(network, [own], optimizer, recipe))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=15, help="categories of a step (MVTec AD: 15)")
    options = parser.parse_args()
    table = Table(title=f"{torch.get_num_threads()} CPU threads, float32, random weights")
    for heading in ("what", "seconds", "memory, MiB"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as alone:
        seconds, risen = alone.submit(features_of_an_image).result()
        table.add_row("features of an image, in batches of 8", f"{seconds:.3f}", f"{risen:.0f}")
        for name, recipe in WAYS.items():
            seconds, risen = alone.submit(step_of_a_task, recipe).result()
            # Tasks are gone through one after another: a step's memory is that of one.
            table.add_row(f"outer step of {options.tasks}: {name}", f"{options.tasks * seconds:.1f}", f"{risen:.0f}")
            print(f"{name}: done", flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
