"""DVC stage `train`: data/pairs -> models/metauas, reports/train.  Run: dvc repro train."""

from pathlib import Path

from configs.errors import run
from configs.section import load
from configs.train import TrainParams
from model.training import train
from pipeline.shards import code_digest

PAIRS = Path("data/pairs")
MODEL = Path("models/metauas")
CURVES = Path("reports/train")


def main() -> None:
    """Train, or go on training, the network of params.yaml."""
    train(load(TrainParams), PAIRS, MODEL, CURVES, code_digest(train.__module__))


if __name__ == "__main__":
    run(main)
