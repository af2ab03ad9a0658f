"""How far a threshold holds that normal images set: false alarms and hits beside the rate that was asked for.

    python -m benchmarks.thresholds --checkpoint models/metauas/best.ckpt --root data/parts ../hazelnut_toy ../cookie

Of each category in MVTec layout one training image is the prompt, drawn by seed; all the other training images set the
threshold, as `predict --normals` does, and the test images are decided. Means over the draws. "vouched" is what so few
normal images can promise: where it is above the rate that was asked for, the threshold is their highest score.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from rich.console import Console
from rich.table import Table

from configs.errors import Failure
from model.inference import Engine, Speed, View, open_engine, predict, score_of
from model.inference.threshold import threshold_of
from model.layouts import Category, read_benchmark

BATCH = 16


def scored(engine: Engine, paths: Sequence[Path]) -> list[float]:
    found = []
    for _, one in predict(engine, paths, BATCH):
        assert not isinstance(one, Failure), one
        found.append(score_of(one, engine.score))
    return found


def rates(category: Category, checkpoint: Path, seed: int, wanted: Sequence[float]) -> list[tuple[float, float, float]]:
    """Of each rate that is wanted: what is vouched for, false alarms and hits."""
    order = np.random.default_rng([seed]).permutation(len(category.normals))
    prompt, *others = (category.normals[place] for place in order)
    engine = open_engine(checkpoint, [prompt], View(), "maps", Speed(), BATCH)
    normals = scored(engine, others)
    good = scored(engine, [query.path for query in category.queries if not query.is_anomalous])
    bad = scored(engine, [query.path for query in category.queries if query.is_anomalous])
    found = []
    for rate in wanted:
        threshold = threshold_of(normals, normals, rate)
        alarms, hits = (float(np.mean(np.array(scores) > threshold.score)) for scores in (good, bad))
        found.append((threshold.vouched, alarms, hits))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--root", type=Path, nargs="+", required=True, help="folders of categories, or of one")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.01, 0.05, 0.1])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    table = Table(title=f"vouched / false alarms / hits, in percent, means over {options.seeds} prompts")
    for heading in ("category", "normals", "good", "bad", *(f"at {rate:.0%}" for rate in options.rates)):
        table.add_column(heading, justify="left" if heading == "category" else "right")
    for category in (one for root in options.root for one in read_benchmark("mvtec", root)):
        runs = [rates(category, options.checkpoint, seed, options.rates) for seed in range(options.seeds)]
        cells = [
            " / ".join(f"{100 * mean(value):.0f}" for value in zip(*of_rate, strict=True))
            for of_rate in zip(*runs, strict=True)
        ]
        bad = sum(query.is_anomalous for query in category.queries)
        counts = (len(category.normals) - 1, len(category.queries) - bad, bad)
        table.add_row(category.name, *map(str, counts), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
