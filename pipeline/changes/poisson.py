"""Patches of another image, or of another place of the same, blended in without a seam (Poisson; as NSA, ECCV 2022)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.blob import Blob, blob_alpha, draw_blob
from pipeline.changes.numbers import log_uniform, rounded
from pipeline.changes.visible import put

GROWN_PX = 2  # OpenCV takes 3 px off what it is to blend: with 2 given back small patches stay, and hardly a seam
MARGIN_PX = GROWN_PX + 2  # it wants the patch inside the picture


@dataclass(frozen=True)
class Poisson:
    """One patch."""

    blob: Blob
    own: bool  # of the image itself instead of the donor
    shift: tuple[float, float]  # where the patch is taken from, shares of height and width from where it goes
    scale: float  # at which the source is seen
    mixed: bool  # gradients: the stronger of both (True), or the patch's alone
    kind: Literal["poisson"] = "poisson"


def draw_poisson(rng: np.random.Generator) -> Poisson:
    """Draw a patch."""
    blob = draw_blob(rng, 0.03, 0.2)
    own = bool(rng.random() < 0.4)
    down, across = (rounded(share) for share in rng.uniform(-0.5, 0.5, 2))
    return Poisson(blob, own, (down, across), log_uniform(rng, 0.5, 2.0), bool(rng.random() < 0.3))


def apply_poisson(original: Image, donors: Sequence[Image], poisson: Poisson) -> tuple[Image, Mask]:
    """The changed image and its mask."""
    height, width = original.shape[:2]
    source = original if poisson.own else donors[0]
    middle = ((width - 1) / 2, (height - 1) / 2)
    move = np.asarray(cv2.getRotationMatrix2D(middle, 0.0, poisson.scale), np.float64)
    move[:, 2] += np.array([poisson.shift[1] * width, poisson.shift[0] * height])
    patch = cv2.warpAffine(source, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    mask = blob_alpha(poisson.blob, (height, width)) >= 0.5
    mask[:MARGIN_PX] = mask[-MARGIN_PX:] = mask[:, :MARGIN_PX] = mask[:, -MARGIN_PX:] = False
    if not mask.any():
        return original.copy(), mask
    handed = cv2.dilate(mask.view(np.uint8) * np.uint8(255), np.ones((3, 3), np.uint8), iterations=GROWN_PX)
    left, top, across, down = cv2.boundingRect(handed)
    centre = (left + across // 2, top + down // 2)  # where the middle of the mask's box goes: where it is
    how = cv2.MIXED_CLONE if poisson.mixed else cv2.NORMAL_CLONE
    cloned = cv2.seamlessClone(patch, original, handed, centre, how)
    return put(original, np.asarray(cloned, np.uint8), mask), mask
