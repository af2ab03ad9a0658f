"""DVC stage `train`: data/pairs or data/features -> models/<system>, reports/train.  Run: dvc repro train."""

from pathlib import Path

from configs.errors import run
from configs.model import SystemParams
from configs.section import load
from configs.train import MetaCANTrainParams, OneNIPTrainParams, TrainParams
from model.training import NOT_OF_THE_RESULT, Places, train_metacan, train_metauas, train_onenip
from pipeline.shards import code_digest


def main() -> None:
    """Train, or go on training, the network of params.yaml."""
    said = load(SystemParams).model
    system = said.system
    places = Places(
        shards=Path("data") / said.learns_from,
        blocks=Path(".work/blocks"),
        runs=Path(".work/trainings"),
        model=Path("models") / system,
        curves=Path("reports/train"),
    )
    if system == "metauas":
        train_metauas(load(TrainParams), places, code_digest(train_metauas.__module__, NOT_OF_THE_RESULT))
    elif system == "onenip":
        train_onenip(load(OneNIPTrainParams), places, code_digest(train_onenip.__module__, NOT_OF_THE_RESULT))
    else:
        code = code_digest(train_metacan.__module__, NOT_OF_THE_RESULT)
        train_metacan(load(MetaCANTrainParams), places, code)


if __name__ == "__main__":
    run(main)
