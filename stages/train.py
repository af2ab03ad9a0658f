"""DVC stage `train`: data/pairs -> models/metauas, reports/train.  Run: dvc repro train."""

from pathlib import Path

from configs.errors import run
from configs.section import load
from configs.train import TrainParams
from model.training import NOT_OF_THE_RESULT, Places, train
from pipeline.shards import code_digest

PLACES = Places(
    pairs=Path("data/pairs"),
    runs=Path(".work/trainings"),
    model=Path("models/metauas"),
    curves=Path("reports/train"),
)


def main() -> None:
    """Train, or go on training, the network of params.yaml."""
    train(load(TrainParams), PLACES, code_digest(train.__module__, NOT_OF_THE_RESULT))


if __name__ == "__main__":
    run(main)
