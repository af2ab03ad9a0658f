"""Exactly what a training run executes: shards to checkpoints."""

from model.training.metacan import train_metacan
from model.training.metauas import train_metauas
from model.training.onenip import train_onenip
from model.training.places import Places
from model.training.run import NOT_OF_THE_RESULT

__all__ = ["NOT_OF_THE_RESULT", "Places", "train_metacan", "train_metauas", "train_onenip"]
