"""What ways of learning MetaCAN are worth, on features made by rule: image-level AUROC on categories none learned from.

    python -m benchmarks.metacan_learning                         # three seeds, some minutes on two cores
    python -m benchmarks.metacan_learning --seeds 0 --after 50

An anomaly shifts a few patches of the high level along one hidden direction, the same in every category of a seed. A
category has a look of its own, and its normal images differ along directions of its own, more than an anomaly does: to
the distances of the image-image branch, the floor without training, anomalies are hardly there. What there is to learn
is the direction, from some categories and for all. Nothing of CLIP is in this, and its scores are of no real data.

Learning stays on a plateau and then leaves it at once; rounding alone, as by another number of threads, moves that step
by tens. So a way is judged by many seeds: with three, only what all of them say is worth believing.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from model.encoders import ClipSizes
from model.metacan import PAPER, RELEASED, MetaCAN, Recipe, outer_step
from model.metacan.meta import Task

SIZES = ClipSizes(image_px=80, width=48, blocks=3, heads=2, embedding=32)  # 25 patches
LEARNED_FROM, HELD_OUT = 8, 5  # categories
NORMAL_SPREAD, NOISE = 0.4, 0.3  # of normal images: along a category's own directions, and of each number
ANOMALY = 0.6  # of a number, on average, along the hidden direction
OWN_DIRECTIONS, PATCHES = 4, 4
TEXTS_APART = 0.1  # over their length, about
QUERIES = 60  # of each kind, for a category's score
RELEASED_SETS = replace(PAPER, support=RELEASED.support, query=RELEASED.query, inner_lr=RELEASED.inner_lr)
WAYS = (  # what is indented changes the one above
    ("paper", PAPER),
    ("  first order", replace(PAPER, first_order=True)),
    ("  no inner step", replace(PAPER, inner_lr=0.0)),
    ("  statistics left", replace(PAPER, remember=False)),
    ("release's sets, rate", RELEASED_SETS),
    ("  first order", replace(RELEASED_SETS, first_order=True)),
    ("  no inner step", replace(RELEASED_SETS, inner_lr=0.0)),
    ("release", RELEASED),
)


@dataclass(frozen=True)
class Category:
    """What all images of a category share, float64."""

    look: np.ndarray  # (3, patches, width)
    own: np.ndarray  # (directions, width), along which its images differ
    hidden: np.ndarray  # (width,), of length 1: anomalies', the same in all categories of a seed


def category(seed: int, number: int) -> Category:
    hidden = np.random.default_rng([seed, 0, 0]).standard_normal(SIZES.width)
    hidden /= np.linalg.norm(hidden)
    rng = np.random.default_rng([seed, 1, number])
    own = rng.standard_normal((OWN_DIRECTIONS, SIZES.width))
    own -= np.outer(own @ hidden, hidden)  # nothing normal looks like an anomaly
    return Category(rng.standard_normal((3, SIZES.patches, SIZES.width)), own, hidden)


def draw(of: Category, rng: np.random.Generator, labels: Sequence[int]) -> Tensor:
    """Images' features, float32 (len(labels), 3, patches, width); 1 is anomalous."""
    shape = (len(labels), *of.look.shape)
    found = of.look + NOISE * rng.standard_normal(shape)
    found += NORMAL_SPREAD * rng.standard_normal((*shape[:3], OWN_DIRECTIONS)) @ of.own
    for image, label in zip(found, labels, strict=True):
        if label:
            image[2, rng.choice(SIZES.patches, PATCHES, replace=False)] += ANOMALY * SIZES.width**0.5 * of.hidden
    return torch.from_numpy(found.astype(np.float32))


def draw_task(of: Category, rng: np.random.Generator, recipe: Recipe) -> Task:
    sets: list[Tensor] = []
    for count in (recipe.support, recipe.query):
        labels = rng.permutation(np.arange(count) % 2)
        sets += [draw(of, rng, labels), torch.from_numpy(labels)]
    return Task(draw(of, rng, [0] * recipe.shots), *sets)


def build(seed: int) -> MetaCAN:
    torch.manual_seed(seed)
    network = MetaCAN(blocks=(1, 2, 3), hidden=SIZES.width, sizes=SIZES)
    centre, side = np.random.default_rng([seed, 2, 0]).standard_normal((2, SIZES.embedding)).astype(np.float32)
    # CLIP's two texts are near each other; far apart, a hundred cosines are 0 or 1 and nothing learns.
    normal, abnormal = (torch.from_numpy(centre + sign * TEXTS_APART * side)[None] for sign in (-1, 1))
    network.set_text(normal, abnormal)
    return network


def learn(network: MetaCAN, recipe: Recipe, seed: int, after: Sequence[int]) -> list[dict[str, float]]:
    """Learn by a recipe, each outer step from a task of each category; `held_out` scores after so many steps."""
    categories = [category(seed, number) for number in range(LEARNED_FROM)]
    optimizer = torch.optim.Adam(network.detector.parameters(), lr=recipe.outer_lr)
    found = []
    for step in range(1, min(recipe.steps, max(after)) + 1):
        rng = np.random.default_rng([seed, 3, step])
        outer_step(network, [draw_task(one, rng, recipe) for one in categories], optimizer, recipe)
        if step in after:
            found.append(held_out(network, seed))
    return found


@torch.inference_mode()
def held_out(network: MetaCAN, seed: int) -> dict[str, float]:
    """Mean AUROC over the held-out categories: of the score, of its text term, and of the floor, the other three."""
    network.eval()
    found: dict[str, list[float]] = {"score": [], "text": [], "floor": []}
    for number in range(LEARNED_FROM, LEARNED_FROM + HELD_OUT):
        one, rng = category(seed, number), np.random.default_rng([seed, 4, number])
        references, labels = draw(one, rng, [0, 0]), np.arange(2 * QUERIES) % 2
        compared = network.compare(references, draw(one, rng, labels))
        floor = (compared.low + compared.mid + compared.high) / 3
        for name, scores in (("score", compared.score), ("text", compared.text), ("floor", floor)):
            found[name].append(auroc(scores.numpy(), labels))
    return {name: mean(values) for name, values in found.items()}


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of pairs of an anomalous and a normal one in the right order; level ones count half."""
    ahead = scores[labels == 1][:, None] - scores[labels == 0]
    return float((ahead > 0).mean() + (ahead == 0).mean() / 2)


def spread(values: Sequence[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--after", type=int, nargs="+", default=[15, 50, 100, 200], help="how many outer steps")
    options = parser.parse_args()
    table = Table(title="Image-level AUROC on held-out categories, by outer steps; mean ± deviation over seeds")
    table.add_column("way of learning")
    table.add_column("of")
    for count in (0, *options.after):
        table.add_column(str(count), justify="right")
    before = {seed: held_out(build(seed), seed) for seed in options.seeds}
    table.add_row("none: three levels", "score", spread([found["floor"] for found in before.values()]))
    for name, recipe in WAYS:
        curves = [[found, *learn(build(seed), recipe, seed, options.after)] for seed, found in before.items()]
        for term in ("score", "text"):
            cells = [spread([found[term] for found in of_seeds]) for of_seeds in zip(*curves, strict=True)]
            table.add_row(name if term == "score" else "", term, *cells)
        print(f"{name.strip()}: done", flush=True)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
