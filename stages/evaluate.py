"""DVC stage `evaluate`: models/metauas/best.ckpt + data/pairs + evaluate.root -> reports.  Run: dvc repro evaluate."""

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path

import torch

from configs.errors import BadRequest, run
from configs.evaluate import EvaluateParams
from configs.section import load
from model.baselines import Method, patchcore, pixel_difference
from model.benchmark import Category, read_mvtec
from model.evaluate import (
    ALL,
    Row,
    choose_pairs,
    draw_prompt,
    mean_rows,
    network,
    pair_batches,
    pixel_level,
    predict_category,
    predict_pairs,
    score_groups,
    score_whole,
)
from model.metauas import MetaUAS
from model.pairs import PairDataset
from model.pictures import write_sheet
from model.report import in_short, markdown, metrics_tree, write_csv
from model.sheets import category_strips, pair_strips
from pipeline.progress import track

CHECKPOINT = Path("models/metauas/best.ckpt")
PAIRS = Path("data/pairs")
REPORTS = Path("reports")
PICTURES = REPORTS / "pictures"
NETWORK = "metauas"

Methods = Mapping[str, Method]


def main() -> None:
    """Score the network and two baselines on the benchmark and on the validation pairs."""
    params = load(EvaluateParams)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MetaUAS.from_checkpoint(CHECKPOINT).to(device)
    if model.size is None:
        raise BadRequest(f"{CHECKPOINT}: does not say at which size it was trained; run `dvc repro train`")
    methods: Methods = {
        NETWORK: network(model),
        "pixel_difference": pixel_difference,
        "patchcore": patchcore(model.encode),
    }
    categories = read_mvtec(params.evaluate.root)
    rows = []
    for category in track(categories, "evaluate categories", len(categories)):
        rows += score_category(methods, category, model.size, params, device)
    rows += mean_rows(rows)
    rows += score_pairs(methods, "val_warped", params, device)
    rows += score_pairs(methods, "val_aligned", params, device)
    write(rows)


def score_category(
    methods: Methods,
    category: Category,
    size: tuple[int, int],
    params: EvaluateParams,
    device: torch.device,
) -> list[Row]:
    """Score one category and draw its sheet."""
    prompt = draw_prompt(category, params.seed)
    predicted = predict_category(methods, category, prompt, size, params.evaluate.batch_size, device)
    strips = category_strips(category, prompt, predicted, NETWORK, size, params.evaluate.sheet_rows)
    write_sheet(PICTURES / f"{category.name}.png", category.name, strips)
    return score_whole("benchmark", category.name, predicted)


def score_pairs(methods: Methods, set_name: str, params: EvaluateParams, device: torch.device) -> list[Row]:
    """Score the validation pairs, warped as in training or aligned as they are stored, and draw their sheet.

    Both, because on aligned pairs a plain difference of pixels is already a strong method.
    """
    augment = params.train.augment if set_name == "val_warped" else None
    dataset = PairDataset(PAIRS, "val")
    indices = choose_pairs(len(dataset))
    batch_size = params.evaluate.batch_size
    batches = pair_batches(dataset, indices, batch_size, augment, params.seed)
    predicted = predict_pairs(methods, track(batches, f"evaluate {set_name}", ceil(len(indices) / batch_size)), device)
    strips = pair_strips(dataset, indices, predicted, NETWORK, augment, params.seed, params.evaluate.sheet_rows)
    write_sheet(PICTURES / f"{set_name}.png", set_name, strips)
    groups = score_groups(set_name, predicted) if augment else []  # aligned, every kind is as trivial
    return pixel_level(score_whole(set_name, ALL, predicted) + groups)


def write(rows: list[Row]) -> None:
    """Write the results in every form and say where."""
    (REPORTS / "metrics.json").write_text(json.dumps(metrics_tree(rows, NETWORK), indent=2) + "\n")
    write_csv(REPORTS / "scores.csv", rows)
    (REPORTS / "table.md").write_text(markdown(rows))
    print(f"evaluate: {in_short(rows, NETWORK)} (tables: {REPORTS}/table.md, pictures: {PICTURES}/)")


if __name__ == "__main__":
    run(main)
