"""What a variant of the recipe learns from the same pairs: variants x seeds, one table, two baselines without training.

    python -m benchmarks.learning --params configs/coco400.yaml --pairs data/pairs --out runs --seeds 0 1 2 \\
        --minutes 20 --benchmark hazelnut=../hazelnut_toy --variant paper --variant cosine model.similarity=cosine \\
        --variant best model.similarity=cosine model.levels=4 model.fusion=concat+absdiff

A variant is a name and what it changes in the params file. Budgets are pairs, so that a busy machine changes no result:
`--max-pairs` is the same for all; `--minutes` is turned into pairs by the variant's own speed, measured once (over
`--probe-pairs` of them) and kept in the run's folder. Each run is the stage `train` in a folder of its own,
`out/<variant>/seed_<n>`, where its checkpoints, curves and pictures stay: the same command goes on after an
interruption, and only adds to the table what is new. A variant may learn from pairs of its own, made from the same
index: `pairs=other/folder`.

Minutes and pairs/s are of training, validation apart. Scores are those of the run's best checkpoint, for every
variant on the val pairs of `--pairs` in the views of the params file, whatever it learns from. "image FP" is the share
of the originals among them, against themselves in another view, with a pixel above 0.5. Benchmarks: one prompt a
category, mean over five of them, as the params file's `evaluate` says; at the size that was trained, or at another:
`--benchmark large=../hazelnut_toy@256`. A table by category ends the output.
The baselines have the encoder and the seeds of the last variant. `out/curves.png` shows how the variants got there, on
val pairs of their own.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple, Self

import torch
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.console import Console
from rich.table import Table

from benchmarks.held_out import benchmark_scores, false_positive_rates, val_scores
from configs.everything import load_everything
from model.benchmark.baselines import BASELINES
from model.metauas.network import MetaUAS
from model.scores.results import MEAN
from model.systems import open_network
from pipeline.shards.provenance import ROOT

KINDS = ("all", "inpaint", "paste", "local", "cutpaste")
SCORES = ("I-AUROC", "P-AP")
BY_CATEGORY = (*SCORES, "AUPRO")
LOOKS = ("protocol", "keep_aspect", "scales", "image_score", "limit", "shots", "shots_mean")  # that change a score
OF_A_RUN = ("variant", "seed", "pairs", "pairs/s", "minutes")
HEADINGS = (*OF_A_RUN, *(f"val {kind}" for kind in KINDS), "image FP", "pixel FP")
DRAWN = {  # in the picture of the curves
    "val/pixel_ap/all": "val pixel AP",
    "val/pixel_ap/local": "val pixel AP, local changes",
    "val/unchanged/images": "unchanged val pairs with a false alarm",
    "val/loss": "val loss",
}
PATIENCE_EPOCHS = 1_000_000  # the budget ends a run, not this


class Benchmark(NamedTuple):
    """A folder in the MVTec layout, and the side in pixels to score it at; None: as was trained."""

    name: str
    root: Path
    size_px: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME=ROOT` or `NAME=ROOT@PX`."""
        found = re.fullmatch(r"([^=]+)=(.+?)(?:@(\d+))?", text)
        if found is None:
            raise argparse.ArgumentTypeError(f"{text!r}: wanted NAME=ROOT or NAME=ROOT@PX")
        name, root, size = found.groups()
        return cls(name, Path(root), int(size) if size else None)


def variant(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """`name key=value ...` -> the name and the changes."""
    name, *changes = words
    pairs = (change.partition("=") for change in changes)
    return name, {key: yaml.safe_load(value) for key, _, value in pairs}


def changed(params: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `params` with `changes` to existing keys such as `train.lr`."""
    copy: dict[str, Any] = json.loads(json.dumps(params))
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = copy
        for section in sections:
            place = place.get(section, {})
        if last not in place:
            raise SystemExit(f"error: {key}: no such parameter; wanted one of the params file, as in train.lr=1.0e-3")
        place[last] = value
    return copy


def train(folder: Path, params: Mapping[str, Any], pairs: Path) -> float:
    """Run the stage `train` in `folder`; the pairs per second that it says it learned from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    link = folder / "data" / "pairs"
    if not link.is_symlink():
        link.symlink_to(pairs.resolve())
    (folder / "params.yaml").write_text(yaml.safe_dump(dict(params), sort_keys=False))
    load_everything(folder / "params.yaml")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(
            [sys.executable, "-m", "stages.train"], cwd=folder, env=environment, stdout=log, check=False
        )
    if done.returncode:
        raise SystemExit(f"{folder}: training ended with status {done.returncode}; see {folder}/log.txt")
    return float(re.findall(r"^train: ([0-9.]+) pairs/s", (folder / "log.txt").read_text(), re.MULTILINE)[-1])


def history(folder: Path, system: str) -> list[dict[str, float]]:
    content = torch.load(folder / "models" / system / "last.ckpt", map_location="cpu", weights_only=True)
    return list(content["progress"]["history"])


def budget(folder: Path, params: dict[str, Any], pairs: Path, minutes: float, probe_pairs: int) -> int:
    """How many pairs a variant learns from in `minutes`; measured once."""
    kept = folder / "budget.json"
    if not kept.exists():
        probe = changed(params, {"train.max_pairs": probe_pairs, "train.epochs": PATIENCE_EPOCHS})
        rate = train(folder / "probe", probe, pairs)
        kept.write_text(json.dumps({"pairs_per_s": rate, "pairs": round(rate * minutes * 60), "minutes": minutes}))
    return int(json.loads(kept.read_text())["pairs"])


def learned(options: argparse.Namespace, params: dict[str, Any], words: Sequence[str], seed: int) -> dict[str, Any]:
    """Train one variant of `params` with one seed, and score it and the baselines beside it, unless that is done."""
    name, changes = variant(words)
    pairs = Path(changes.pop("pairs", options.pairs))
    own = changed(params, changes | {"seed": seed})
    folder = options.out / name / f"seed_{seed}"
    system = params["model"]["system"]
    best, kept = folder / "models" / system / "best.ckpt", folder / "scores.json"
    looks = {key: params["evaluate"][key] for key in LOOKS}
    if kept.exists():
        result = dict(json.loads(kept.read_text()))
        if result.get("looks") != looks:
            result |= {"looks": looks, "benchmarks": {}}
    else:
        count = options.max_pairs or budget(options.out / name, own, pairs, options.minutes, options.probe_pairs)
        rate = train(folder, changed(own, {"train.max_pairs": count, "train.epochs": PATIENCE_EPOCHS}), pairs)
        result = {"pairs": count, "pairs_per_s": rate, "benchmarks": {}, "looks": looks}
        result |= on_val_pairs(best, options.pairs, params, seed, history(folder, system))
    for benchmark in options.benchmark:
        if benchmark.name not in result["benchmarks"]:
            network, section = open_network(best), params["evaluate"]
            scores = benchmark_scores(network, section, benchmark.root, seed, benchmark.size_px)
            result["benchmarks"][benchmark.name] = scores
    kept.write_text(json.dumps(result, indent=1))
    return result


def on_val_pairs(
    best: Path, pairs: Path, params: Mapping[str, Any], seed: int, points: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """What a network finds on the val pairs, and where there is nothing; of OneNIP what its best epoch found."""
    network, views = open_network(best), params["train"]["augment"]  # not the variant's, so that all are asked the same
    if isinstance(network, MetaUAS):
        found = false_positive_rates(network, pairs, views, seed)
        return {"unchanged": found, "val": val_scores(network, pairs, views, seed)}
    point = max(points, key=lambda one: one["val/pixel_ap/all"])
    prefix = "val/pixel_ap/"
    val = {name.removeprefix(prefix): value for name, value in point.items() if name.startswith(prefix)}
    unchanged = {of: point.get(f"val/unchanged/{of}", math.nan) for of in ("images", "pixels")}
    return {"unchanged": unchanged, "val": {"onenip": val}}


@dataclass(frozen=True)
class Line:
    """Of the table: one method's figures in one result, or in several combined."""

    name: str
    seed: str  # or "mean", "sd"
    result: Mapping[str, Any]
    method: str

    def cells(self, benchmarks: Sequence[str]) -> list[str]:
        """Its figures in the order of `HEADINGS`, then those of each benchmark."""
        result = self.result
        val = result["val"].get(self.method, {})
        figures = [val.get(kind) for kind in KINDS]
        figures += [result["unchanged"][of] if self.method not in BASELINES else None for of in ("images", "pixels")]
        figures += [result["benchmarks"][name][MEAN][self.method][score] for name in benchmarks for score in SCORES]
        budget = ["", "", ""]
        if self.method not in BASELINES and self.seed != "sd":  # a deviation of speeds says nothing of learning
            minutes = result["pairs"] / result["pairs_per_s"] / 60
            budget = [f"{result['pairs']:.0f}", f"{result['pairs_per_s']:.1f}", f"{minutes:.1f}"]
        return [self.name, self.seed, *budget, *map(_number, figures)]


def show(lines: Sequence[Line], benchmarks: Sequence[str]) -> None:
    table = Table(title="Pixel AP on the val pairs; image-level and pixel-level scores on benchmarks")
    for heading in [*HEADINGS, *(f"{name} {score}" for name in benchmarks for score in SCORES)]:
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for line in lines:
        table.add_row(*line.cells(benchmarks))
    Console(width=40 + 11 * len(table.columns)).print(table)


def show_categories(name: str, by_variant: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """A benchmark by category: I-AUROC / P-AP / AUPRO of each variant, means over seeds, and of what is not trained."""
    results = {variant: [result["benchmarks"][name] for result in several] for variant, several in by_variant.items()}
    last = next(reversed(results.values()))
    (network,) = set(last[0][MEAN]) - set(BASELINES)
    columns = {variant: (network, several) for variant, several in results.items()}
    columns |= {method: (method, last) for method in BASELINES if method in last[0][MEAN]}
    table = Table(title=f"{name}: {' / '.join(BY_CATEGORY)}, in percent")
    for heading in ("category", *columns):
        table.add_column(heading, justify="left" if heading == "category" else "right")
    for category in last[0]:
        cells = []
        for method, several in columns.values():
            found = ([100 * scores[category][method][of] for scores in several] for of in BY_CATEGORY)
            cells.append(" / ".join(_with_deviation(values) for values in found))
        table.add_row(category, *cells)
    Console(width=20 + 38 * len(columns)).print(table)


def draw(path: Path, runs: Sequence[tuple[str, int, Sequence[Mapping[str, float]]]]) -> None:
    """Curves over the pairs seen, a thin line for each of `runs` (variant, pairs, epochs), into a PNG."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2).flat
    names = list(dict.fromkeys(name for name, _, _ in runs))
    for axes, (key, title) in zip(panels, DRAWN.items(), strict=True):
        for name, pairs, points in runs:
            seen = [pairs * (number + 1) / len(points) for number in range(len(points))]
            values = [point.get(key, math.nan) for point in points]
            axes.plot(seen, values, ".-", color=f"C{names.index(name)}", linewidth=0.8)
        axes.set_title(title)
        axes.set_xlabel("pairs seen")
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
    handles = [Line2D([], [], color=f"C{number}", marker=".") for number in range(len(names))]
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=100)


def combined(results: Sequence[Mapping[str, Any]], how: Callable[[Sequence[float]], float]) -> dict[str, Any]:
    """One result of several seeds', each of its figures by `how`, a mean or a deviation."""
    return {
        key: combined(values, how) if isinstance(values[0], Mapping) else how(values)
        for key, values in ((key, [result[key] for result in results]) for key in results[0] if key != "looks")
    }


def _with_deviation(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f"±{stdev(values):.1f}" if len(values) > 1 else "")


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=ROOT / "params.yaml", help="what all variants start from")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of shards; all are scored on its val pairs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variant", nargs="+", action="append", required=True, metavar=("NAME", "KEY=VALUE"))
    parser.add_argument(
        "--benchmark",
        type=Benchmark.parse,
        action="append",
        default=[],
        metavar="NAME=ROOT[@PX]",
        help="in the MVTec layout, scored at PX pixels a side (default: as was trained)",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--max-pairs", type=int, help="to learn from, in each run")
    which.add_argument("--minutes", type=float, help="of training, in each run, turned into pairs once a variant")
    parser.add_argument("--probe-pairs", type=int, default=640, help="to measure a variant's speed on (default 640)")
    options = parser.parse_args()
    names = [benchmark.name for benchmark in options.benchmark]
    params = yaml.safe_load(options.params.read_text())
    system = params["model"]["system"]
    lines: list[Line] = []
    runs = []
    by_variant: dict[str, list[dict[str, Any]]] = {}
    for words in options.variant:
        name = words[0]
        results = by_variant[name] = []
        for seed in options.seeds:
            results.append(learned(options, params, words, seed))
            lines.append(Line(name, str(seed), results[-1], system))
            runs.append((name, results[-1]["pairs"], history(options.out / name / f"seed_{seed}", system)))
            show(lines, names)
            draw(options.out / "curves.png", runs)
        if len(results) > 1:
            lines += [Line(name, how, combined(results, by), system) for how, by in (("mean", mean), ("sd", stdev))]
    lines += [Line(f"{method} (no training)", "", combined(results, mean), method) for method in BASELINES]
    show(lines, names)
    for name in names:
        show_categories(name, by_variant)


if __name__ == "__main__":
    main()
