"""Faster forms of what does not learn, equal but for rounding: a network that is only run, a frozen encoder."""

from model.fast.fast_form import for_inference
from model.fast.folding import with_fast_encoder

__all__ = [
    "for_inference",
    "with_fast_encoder",
]
