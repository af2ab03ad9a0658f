"""MetaCAN: the network, how it learns across categories, its text, and what its checkpoints say."""

from model.metacan.checkpoint import CHECKPOINT, CHECKPOINT_VERSION, is_released, read_checkpoint
from model.metacan.comparison import Comparison
from model.metacan.detector import SHARPNESS
from model.metacan.meta import Task, focal_loss
from model.metacan.network import MetaCAN
from model.metacan.recipe import PAPER, RELEASED, Recipe, outer_step
from model.metacan.text import mean_direction, text_rows
from model.metacan.tokens import image_tokens

__all__ = [
    "CHECKPOINT",
    "CHECKPOINT_VERSION",
    "PAPER",
    "RELEASED",
    "SHARPNESS",
    "Comparison",
    "MetaCAN",
    "Recipe",
    "Task",
    "focal_loss",
    "image_tokens",
    "is_released",
    "mean_direction",
    "outer_step",
    "read_checkpoint",
    "text_rows",
]
