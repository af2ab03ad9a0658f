"""Exactly what a training run executes: pair shards to checkpoints."""

from model.training.augment import Prepared, prepare
from model.training.pairs import PairDataset
from model.training.run import train

__all__ = [
    "PairDataset",
    "Prepared",
    "prepare",
    "train",
]
