"""Exactly what a training run executes: pair shards to checkpoints."""

from model.training.run import NOT_OF_THE_RESULT, Places, train

__all__ = ["NOT_OF_THE_RESULT", "Places", "train"]
