"""Scores of a network and of the baselines on held-out data: the one place where benchmarks call `model.evaluate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from configs.train import Augment
from model.baselines import Method, patchcore, pixel_difference
from model.benchmark import read_mvtec
from model.evaluate import (
    choose_pairs,
    draw_prompt,
    network,
    pair_batches,
    predict_category,
    predict_pairs,
    score_groups,
    score_whole,
)
from model.metauas import MetaUAS
from model.pairs import PairDataset
from model.validate import false_positives

BASELINES = ("pixel_difference", "patchcore")
BATCH = 16
CPU = torch.device("cpu")


def methods_of(model: MetaUAS, names: Sequence[str]) -> dict[str, Method]:
    every: dict[str, Method] = {
        "metauas": network(model),
        "pixel_difference": pixel_difference,
        "patchcore": patchcore(model.encode),
    }
    return {name: every[name] for name in names}


def benchmark_scores(
    model: MetaUAS, root: str | Path, seed: int, methods: Sequence[str] = ("metauas",)
) -> dict[str, dict[str, float]]:
    """Scores by method, the plain mean over the categories of `root`."""
    assert model.size is not None
    categories = read_mvtec(root)
    rows = []
    for category in categories:
        prompt = draw_prompt(category, seed)
        predicted = predict_category(methods_of(model, methods), category, prompt, model.size, BATCH, CPU)
        rows += score_whole("benchmark", category.name, predicted)
    names = rows[0].scores.by_name()
    return {
        method: {
            name: sum(row.scores.by_name()[name] for row in rows if row.method == method) / len(categories)
            for name in names
        }
        for method in methods
    }


def val_scores(
    model: MetaUAS, pairs: Path, augment: Mapping[str, Any], seed: int, methods: Sequence[str] = BASELINES
) -> dict[str, dict[str, float]]:
    """Pixel AP by method and by kind of change, under the views of validation."""
    dataset = PairDataset(pairs, "val")
    views = Augment.model_validate(augment)
    batches = pair_batches(dataset, choose_pairs(len(dataset)), BATCH, views, seed)
    predicted = predict_pairs(methods_of(model, methods), batches, CPU)
    rows = score_whole("val", "all", predicted) + score_groups("val", predicted)
    return {method: {row.category: row.scores.p_ap for row in rows if row.method == method} for method in methods}


def false_positive_rates(model: MetaUAS, pairs: Path, augment: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Shares of all unchanged val pairs, and of their pixels, in which the network finds something."""
    dataset = PairDataset(pairs, "val")
    indices = range(len(dataset))
    batches = (default_collate([dataset[i] for i in indices[at : at + BATCH]]) for at in indices[::BATCH])
    found = false_positives(model, batches, Augment.model_validate(augment), seed)
    return {name.rpartition("/")[2]: value for name, value in found.items()}
