"""MetaCAN: the network, how it learns across categories, its text, and what its checkpoints say."""

from model.metacan.checkpoint import CHECKPOINT, is_released, read_checkpoint
from model.metacan.network import MetaCAN
from model.metacan.recipe import PAPER, RELEASED, Recipe, outer_step

__all__ = ["CHECKPOINT", "PAPER", "RELEASED", "MetaCAN", "Recipe", "is_released", "outer_step", "read_checkpoint"]
