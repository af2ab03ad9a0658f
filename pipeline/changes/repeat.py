"""A repeat that is shifted, turned or doubled: a patch of the image laid over another place of the same image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.blending import blend
from pipeline.changes.blob import Blob, blob_alpha, draw_blob
from pipeline.changes.numbers import log_uniform, uniform


@dataclass(frozen=True)
class Repeat:
    """One patch."""

    blob: Blob
    shift: tuple[float, float]  # shares of the shorter side
    angle_deg: float
    flip: bool
    kind: Literal["repeat"] = "repeat"


def draw_repeat(rng: np.random.Generator) -> Repeat:
    """Draw a patch; half of them only shifted, by little or much."""
    far = log_uniform(rng, 0.02, 0.4)
    shift = uniform(rng, -1.0, 1.0) * far, uniform(rng, -1.0, 1.0) * far
    turned = bool(rng.random() < 0.5)
    angle_deg, flip = uniform(rng, -90.0, 90.0), bool(rng.random() < 0.5)
    return Repeat(draw_blob(rng, 0.03, 0.2), shift, angle_deg if turned else 0.0, turned and flip)


def apply_repeat(original: Image, donors: Sequence[Image], repeat: Repeat) -> tuple[Image, Mask]:
    """The changed image and its mask, made of the picture alone."""
    del donors
    height, width = original.shape[:2]
    middle = (repeat.blob.col * width, repeat.blob.row * height)
    move = np.asarray(cv2.getRotationMatrix2D(middle, repeat.angle_deg, 1.0), np.float64)
    if repeat.flip:
        move = move @ np.array([[-1, 0, 2 * middle[0]], [0, 1, 0], [0, 0, 1]])
    side = min(height, width)
    move[:, 2] += np.array([repeat.shift[1] * side, repeat.shift[0] * side])
    moved = cv2.warpAffine(original, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return blend(original, np.asarray(moved, np.uint8), blob_alpha(repeat.blob, (height, width)), 1.0)
