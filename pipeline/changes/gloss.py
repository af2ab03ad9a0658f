"""Local blur, matt or shiny patches, and lost or doubled contrast: the surface is there, and looks another way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.blending import blend
from pipeline.changes.blob import Blob, blob_alpha, draw_blob
from pipeline.changes.numbers import uniform

Finish = Literal["blurred", "flat", "rough", "shiny", "noisy"]


@dataclass(frozen=True)
class Gloss:
    """One patch of another finish."""

    blob: Blob
    finish: Finish
    amount: float  # in (0, 1]
    noise_seed: int
    kind: Literal["gloss"] = "gloss"


def draw_gloss(rng: np.random.Generator) -> Gloss:
    """Draw a patch."""
    finish: Finish = get_args(Finish)[int(rng.integers(len(get_args(Finish))))]
    return Gloss(draw_blob(rng, 0.03, 0.22), finish, uniform(rng, 0.3, 1.0), int(rng.integers(2**31)))


def apply_gloss(original: Image, donors: Sequence[Image], gloss: Gloss) -> tuple[Image, Mask]:
    """The changed image and its mask, made of the picture alone."""
    del donors
    size = original.shape[0], original.shape[1]
    return blend(original, _finished(original, gloss), blob_alpha(gloss.blob, size), 1.0)


def _finished(image: Image, gloss: Gloss) -> Image:
    """The whole image with the finish."""
    side = min(image.shape[:2])
    radius = max(1.0, gloss.amount * side / 24)
    smooth = cv2.GaussianBlur(image, (0, 0), radius, borderType=cv2.BORDER_REFLECT_101)
    if gloss.finish == "blurred":
        return np.asarray(smooth, np.uint8)
    if gloss.finish == "flat":
        grey = cv2.GaussianBlur(image, (0, 0), side / 8, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(cv2.addWeighted(image, 1 - 0.9 * gloss.amount, grey, 0.9 * gloss.amount, 0), np.uint8)
    if gloss.finish == "rough":
        return np.asarray(cv2.addWeighted(image, 1 + 2 * gloss.amount, smooth, -2 * gloss.amount, 0), np.uint8)
    if gloss.finish == "shiny":
        return np.asarray(cv2.convertScaleAbs(image, alpha=1.0, beta=90 * gloss.amount), np.uint8)
    grains = np.random.default_rng([gloss.noise_seed, 0]).normal(0, 60 * gloss.amount, (*image.shape[:2], 1))
    return np.asarray(np.clip(np.rint(image + grains), 0, 255), np.uint8)
