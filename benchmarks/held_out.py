"""Scores of a network and of the baselines on held-out data: the one place where benchmarks call the evaluation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.utils.data import default_collate

from configs.evaluate import Evaluate
from configs.train import Augment
from model.benchmark.baselines import baselines
from model.benchmark.evaluate_pairs import evaluate_pairs
from model.benchmark.evaluation import NETWORK, Evaluation
from model.benchmark.methods import Once, network_method
from model.metauas.network import MetaUAS
from model.pairs import PairDataset
from model.scores.results import MEAN
from model.training.validate import false_positives
from pipeline.shards.provenance import ROOT

BATCH = 16
PROMPTS = 5  # drawn for each category; scores are means over them (paper, section 4.1)
CPU = torch.device("cpu")


def benchmark_scores(
    model: MetaUAS, root: str | Path, seed: int, size_px: int | None = None
) -> dict[str, dict[str, float]]:
    """Scores by method, the plain mean over the categories of `root`, in MVTec's layout, and over the prompts.

    At `size_px` pixels a side; None: as the model was trained.
    """
    section = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())["evaluate"]
    settings = Evaluate.model_validate(section | {"root": str(root), "seeds": PROMPTS, "size_px": size_px})
    evaluation = Evaluation(model, settings, seed, CPU)
    rows = evaluation.run().rows
    category = MEAN if len(evaluation.categories) > 1 else evaluation.categories[0].name
    return {row.method: row.scores.by_name() for row in rows if row.category == category}


def val_scores(model: MetaUAS, pairs: Path, augment: Mapping[str, Any], seed: int) -> dict[str, dict[str, float]]:
    """Pixel AP by method and by kind of change, under the views of validation."""
    encode = Once(model.encode)
    methods = {NETWORK: network_method(model, encode), **baselines(encode)}
    views = Augment.model_validate(augment)
    rows = evaluate_pairs(methods, PairDataset(pairs, "val"), "val", views, seed, BATCH, CPU)
    return {method: {row.category: row.scores.p_ap for row in rows if row.method == method} for method in methods}


def false_positive_rates(model: MetaUAS, pairs: Path, augment: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Shares of all unchanged val pairs, and of their pixels, in which the network finds something."""
    dataset = PairDataset(pairs, "val")
    indices = range(len(dataset))
    batches = (default_collate([dataset[i] for i in indices[at : at + BATCH]]) for at in indices[::BATCH])
    found = false_positives(model, batches, Augment.model_validate(augment), seed)
    return {name.rpartition("/")[2]: value for name, value in found.items()}
