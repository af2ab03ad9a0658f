"""Exactly what a training run executes: pair shards to checkpoints."""

from model.training.metauas import train_metauas
from model.training.onenip import train_onenip
from model.training.run import NOT_OF_THE_RESULT, Places

__all__ = ["NOT_OF_THE_RESULT", "Places", "train_metauas", "train_onenip"]
