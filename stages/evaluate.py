"""DVC stage `evaluate`: models/metauas/best.ckpt + data/pairs + evaluate.root -> reports.  Run: dvc repro evaluate."""

from pathlib import Path

import torch

from configs.errors import run
from configs.evaluate import EvaluateParams
from configs.section import load
from model.benchmark import NETWORK, Evaluation, network_method
from model.benchmark.pair_scores import pair_sheet, score_pairs
from model.metauas import MetaUAS
from model.pairs import PairDataset
from model.report import in_short, write_report

CHECKPOINT = Path("models/metauas/best.ckpt")
PAIRS = Path("data/pairs")
REPORTS = Path("reports")


def main() -> None:
    """Score the network and two baselines on the benchmark and on the validation pairs.

    On pairs as they are stored too, because there a plain difference of pixels is already a strong method.
    """
    params = load(EvaluateParams)
    settings, seed = params.evaluate, params.seed
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = MetaUAS.from_checkpoint(CHECKPOINT).to(device)
    evaluation = Evaluation(model, settings, seed, device)
    outcome = evaluation.run()
    dataset = PairDataset(PAIRS, "val")
    methods = {NETWORK: network_method(model), **evaluation.baselines}
    height, width = dataset[0]["mask"].shape
    outcome.notes.append(f"Val pairs at {width} x {height} px, as they are stored.")
    for set_name, augment in (("val_warped", params.train.augment), ("val_aligned", None)):
        outcome.rows += score_pairs(methods, dataset, set_name, augment, seed, settings.batch_size, device)
        outcome.sheets[set_name] = pair_sheet(methods[NETWORK], dataset, augment, seed, settings.sheet_rows, device)
    write_report(outcome, REPORTS / "metrics.json", REPORTS, f"{CHECKPOINT} on {settings.root}")
    print(
        f"evaluate: {in_short(outcome.rows, outcome.network)} (tables: {REPORTS}/table.md, all: {REPORTS}/report.html)"
    )


if __name__ == "__main__":
    run(main)
