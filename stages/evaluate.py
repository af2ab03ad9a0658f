"""DVC stage `evaluate`: models/<system>/best.ckpt + data/pairs + evaluate.root -> reports.  Run: dvc repro evaluate."""

from pathlib import Path

import torch

from configs.errors import run
from configs.evaluate import EvaluateParams
from configs.model import SystemParams
from configs.section import load
from model.benchmark import Evaluation, network_method
from model.benchmark.pair_scores import pair_sheet, score_pairs
from model.pairs import PairDataset
from model.report import in_short, write_report
from model.systems import open_network

PAIRS = Path("data/pairs")
REPORTS = Path("reports")


def main() -> None:
    """Score the network and two baselines on the benchmark and, if it compares views, on the validation pairs.

    On pairs as they are stored too, because there a plain difference of pixels is already a strong method.
    """
    params, system = load(EvaluateParams), load(SystemParams).model.system
    settings, seed, augment = params.evaluate, params.seed, params.train.augment
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = Path("models") / system / "best.ckpt"
    model = open_network(checkpoint, settings.clip_weights).to(device)
    evaluation = Evaluation(model, settings, seed, device)
    outcome = evaluation.run()
    if augment is not None:
        dataset = PairDataset(PAIRS, "val")
        methods = {evaluation.name: network_method(model), **evaluation.baselines}
        height, width = dataset[0]["mask"].shape
        outcome.notes.append(f"Val pairs at {width} x {height} px, as they are stored.")
        for set_name, seen in (("val_warped", augment), ("val_aligned", None)):
            outcome.rows += score_pairs(methods, dataset, set_name, seen, seed, settings.batch_size, device)
            method = methods[evaluation.name]
            outcome.sheets[set_name] = pair_sheet(method, dataset, seen, seed, settings.sheet_rows, device)
    write_report(outcome, REPORTS / "metrics.json", REPORTS, f"{checkpoint} on {settings.root}")
    print(
        f"evaluate: {in_short(outcome.rows, outcome.network)} (tables: {REPORTS}/table.md, all: {REPORTS}/report.html)"
    )


if __name__ == "__main__":
    run(main)
