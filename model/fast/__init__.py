"""The form of a network that is only run, never trained; nothing else changes where this is left out."""

from model.fast.folding import with_fast_encoder
from model.fast.inference import for_inference

__all__ = [
    "for_inference",
    "with_fast_encoder",
]
