"""The pairs that networks learn from and are scored on: read from shards, and seen in two views."""

from model.pairs.dataset import PairDataset
from model.pairs.views import Draws, Prepared, as_images, draw, label, prepare, recolour, see

__all__ = [
    "Draws",
    "PairDataset",
    "Prepared",
    "as_images",
    "draw",
    "label",
    "prepare",
    "recolour",
    "see",
]
