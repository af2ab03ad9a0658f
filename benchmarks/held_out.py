"""Scores of a network and of the baselines on held-out data: the one place where benchmarks call the evaluation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from configs.evaluate import Evaluate
from configs.train import Augment
from model.benchmark.baselines import baselines
from model.benchmark.evaluation import Evaluation
from model.benchmark.methods import Once, network_method
from model.benchmark.pair_scores import score_pairs
from model.metauas.network import MetaUAS
from model.pairs import PairDataset
from model.systems import Network
from model.training.validate import false_positives

BATCH = 16
PROMPTS = 5  # drawn for each category; scores are means over them (paper, section 4.1)
CPU = torch.device("cpu")


def benchmark_scores(
    model: Network, section: Mapping[str, Any], root: str | Path, seed: int, size_px: int | None = None
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores by category, "mean" among them, and method: means over the prompts.

    Args:
        model: in evaluation mode.
        section: `evaluate` of a params file, of which only how images are looked at and scored is taken.
        root: of the benchmark, in MVTec's layout.
        seed: of the drawn prompts.
        size_px: pixels a side; None: as the model was trained.
    """
    own = {"layout": "mvtec", "root": str(root), "seeds": PROMPTS, "size_px": size_px, "variants": ["one"]}
    own |= dict.fromkeys(("prompts", "lists", "categories", "clip_weights"))
    rows = Evaluation(model, Evaluate.model_validate(dict(section) | own), seed, CPU).run().rows
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        scores.setdefault(row.category, {})[row.method] = row.scores.by_name()
    return scores


def val_scores(model: MetaUAS, pairs: Path, augment: Mapping[str, Any], seed: int) -> dict[str, dict[str, float]]:
    """Pixel AP by method and by kind of change, under the views of validation."""
    encode = Once(model.encode)
    methods = {"metauas": network_method(model, encode), **baselines(encode)}
    views = Augment.model_validate(augment)
    rows = score_pairs(methods, PairDataset(pairs, "val"), "val", views, seed, BATCH, CPU)
    return {method: {row.category: row.scores.p_ap for row in rows if row.method == method} for method in methods}


def false_positive_rates(model: MetaUAS, pairs: Path, augment: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Shares of all unchanged val pairs, and of their pixels, in which the network finds something."""
    dataset = PairDataset(pairs, "val")
    indices = range(len(dataset))
    batches = (default_collate([dataset[i] for i in indices[at : at + BATCH]]) for at in indices[::BATCH])
    found = false_positives(model, batches, Augment.model_validate(augment), seed)
    return {name.rpartition("/")[2]: value for name, value in found.items()}
