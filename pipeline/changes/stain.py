"""Stains: discoloured, dark, light or smeared patches with frayed, soft edges."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.blending import Look, blend, draw_look, seen_through
from pipeline.changes.blob import Blob, blob_alpha, draw_blob


@dataclass(frozen=True)
class Stain:
    """Patches of one look."""

    blobs: tuple[Blob, ...]
    look: Look
    kind: Literal["stain"] = "stain"


def draw_stain(rng: np.random.Generator) -> Stain:
    """Draw one to five patches; several are small, as splashes are."""
    count = int(rng.choice([1, 1, 1, 2, 3, 5]))
    high = 0.2 if count == 1 else 0.06
    return Stain(tuple(draw_blob(rng, 0.012, high) for _ in range(count)), draw_look(rng))


def apply_stain(original: Image, donors: Sequence[Image], stain: Stain) -> tuple[Image, Mask]:
    """The changed image and its mask, made of the picture alone."""
    del donors
    size = original.shape[0], original.shape[1]
    alpha = np.max([blob_alpha(blob, size) for blob in stain.blobs], axis=0)
    return blend(original, seen_through(original, stain.look), alpha, stain.look.strength)
