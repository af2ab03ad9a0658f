"""An irregular patch with a soft edge: where stains, dents and blurs lie."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.changes.numbers import log_uniform, uniform
from pipeline.changes.perlin import LATTICE, perlin_field

CELLS = 4  # of the noise that frays an edge, over each side of the image

Alpha = npt.NDArray[np.float32]  # float32 (H, W) in [0, 1]


@dataclass(frozen=True)
class Blob:
    """An ellipse whose edge noise has pushed in and out; lengths are shares of the image's shorter side."""

    row: float  # of the middle, a share of the height
    col: float  # a share of the width
    radius: float  # the geometric mean of the half axes
    aspect: float  # long by short half axis
    angle_deg: float
    fray: float  # by how much of the radius the edge is pushed, at most
    softness: float  # width of the edge, of the radius
    noise_row: int  # place of the noise in its lattice
    noise_col: int


def draw_blob(rng: np.random.Generator, low: float, high: float) -> Blob:
    """Draw a patch of a radius between `low` and `high`, small ones as likely as large ones."""
    return Blob(
        row=uniform(rng, 0.05, 0.95),
        col=uniform(rng, 0.05, 0.95),
        radius=log_uniform(rng, low, high),
        aspect=log_uniform(rng, 1.0, 3.0),
        angle_deg=uniform(rng, 0.0, 180.0),
        fray=uniform(rng, 0.0, 0.7),
        softness=log_uniform(rng, 0.05, 0.8),
        noise_row=int(rng.integers(LATTICE)),
        noise_col=int(rng.integers(LATTICE)),
    )


def blob_alpha(blob: Blob, height_width: tuple[int, int]) -> Alpha:
    """How opaque the patch is at each pixel: 1 well inside, 0 outside."""
    height, width = height_width
    side = min(height, width)
    cos, sin = math.cos(math.radians(blob.angle_deg)), math.sin(math.radians(blob.angle_deg))
    down = np.arange(height, dtype=np.float32)[:, None] + 0.5 - blob.row * height
    across = np.arange(width, dtype=np.float32)[None] + 0.5 - blob.col * width
    long, short = blob.radius * side * blob.aspect**0.5, blob.radius * side / blob.aspect**0.5
    along = (across * cos + down * sin) / long
    aside = (down * cos - across * sin) / short
    noise = perlin_field(height_width, (CELLS, CELLS), (blob.noise_row, blob.noise_col))
    distance = cv2.sqrt((along * along + aside * aside).astype(np.float32)) + blob.fray * noise  # 1 at the edge
    # An edge sharper than a pixel would be a staircase.
    edge = max(blob.softness, 1 / short)
    return np.asarray(np.clip((1 - distance) / edge + 0.5, 0, 1), np.float32)
