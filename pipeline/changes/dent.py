"""Dents and bulges: the picture displaced around a point, with the light that a hollow takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.blob import Blob, blob_alpha, draw_blob
from pipeline.changes.numbers import cosine, sine, uniform
from pipeline.changes.visible import put

IN_MASK = 0.1  # of the full displacement


@dataclass(frozen=True)
class Dent:
    """One dent. Displacements are shares of its radius."""

    blob: Blob
    pinch: float  # towards the middle, or away from it
    twirl_deg: float  # about the middle
    slide: tuple[float, float]  # down, across
    shade: float  # of the side that is lit: -1 .. 1, times 60 levels
    light_deg: float
    kind: Literal["dent"] = "dent"


def draw_dent(rng: np.random.Generator) -> Dent:
    """Draw a dent."""
    blob = draw_blob(rng, 0.03, 0.2)
    return Dent(
        blob=blob,
        pinch=uniform(rng, -0.6, 0.6),
        twirl_deg=uniform(rng, -60.0, 60.0),
        slide=(uniform(rng, -0.5, 0.5), uniform(rng, -0.5, 0.5)),
        shade=uniform(rng, -1.0, 1.0),
        light_deg=uniform(rng, 0.0, 360.0),
    )


def apply_dent(original: Image, donors: Sequence[Image], dent: Dent) -> tuple[Image, Mask]:
    """The changed image and its mask, made of the picture alone."""
    del donors
    height, width = original.shape[:2]
    radius = dent.blob.radius * min(height, width)
    alpha = cv2.GaussianBlur(blob_alpha(dent.blob, (height, width)), (0, 0), 1 + 0.2 * radius)
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    down, across = rows - dent.blob.row * height, cols - dent.blob.col * width
    turns = np.float32(dent.twirl_deg / 360) * alpha
    cos, sin = cosine(turns), sine(turns)
    zoom = 1 + dent.pinch * alpha
    from_row = dent.blob.row * height + zoom * (cos * down - sin * across) + dent.slide[0] * radius * alpha
    from_col = dent.blob.col * width + zoom * (sin * down + cos * across) + dent.slide[1] * radius * alpha
    moved = cv2.remap(original, from_col, from_row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    light = math.radians(dent.light_deg)
    slope = (math.sin(light) * down + math.cos(light) * across) / radius
    lit = np.clip(np.rint(moved + (60 * dent.shade * alpha * slope)[..., None]), 0, 255).astype(np.uint8)
    mask = alpha >= IN_MASK
    return put(original, lit, mask), mask
