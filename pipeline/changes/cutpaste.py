"""CutPaste: a piece of the picture itself, its colours jittered, put down elsewhere (Li et al., CVPR 2021).

A patch or a scar, evenly, as OneNIP's released code draws them; its scars are 2 to 16 px wide and 10 to 25 px long at
224 px, here shares of the shorter side at every size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.numbers import rounded, uniform
from pipeline.changes.visible import put

PATCH_AREA = (0.02, 0.15)  # of the picture
PATCH_ASPECT = 3.3  # longest side by shortest, at most
SCAR_WIDTH, SCAR_LENGTH = (2 / 224, 16 / 224), (10 / 224, 25 / 224)  # of the shorter side
SCAR_TURN_DEG = 45.0
FACTOR, HUE = 0.4, 0.1  # of the colours: a factor of 1 +- this, and turns of the colour circle either way
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue in the light that is seen

Operation = Literal["brightness", "contrast", "saturation", "hue"]
OPERATIONS: tuple[Operation, ...] = ("brightness", "contrast", "saturation", "hue")


@dataclass(frozen=True)
class CutPaste:
    """One piece; sizes are shares of the height and of the width, a scar's of the shorter side."""

    form: Literal["patch", "scar"]
    height: float
    width: float
    source: tuple[float, float]  # top and left corner of what is cut, shares of the room that there is for it
    target: tuple[float, float]  # where it goes: the same; of a scar its centre, shares of height and width
    turn_deg: float
    colours: tuple[tuple[Operation, float], ...]  # in their order: factors, and turns of the hue
    kind: Literal["cutpaste"] = "cutpaste"


def draw_cutpaste(rng: np.random.Generator) -> CutPaste:
    """Draw a patch or a scar."""
    places = [rounded(share) for share in rng.random(4)]
    numbers = {name: uniform(rng, 1 - FACTOR, 1 + FACTOR) for name in OPERATIONS} | {"hue": uniform(rng, -HUE, HUE)}
    colours = tuple((OPERATIONS[place], numbers[OPERATIONS[place]]) for place in rng.permutation(len(OPERATIONS)))
    ends = (places[0], places[1]), (places[2], places[3])
    if rng.random() < 0.5:
        area, flat = uniform(rng, *PATCH_AREA), rng.random() < 0.5
        aspect = uniform(rng, 1.0, PATCH_ASPECT) if flat else uniform(rng, 1 / PATCH_ASPECT, 1.0)  # width by height
        return CutPaste("patch", _root(area / aspect), _root(area * aspect), *ends, 0.0, colours)
    width, length = uniform(rng, *SCAR_WIDTH), uniform(rng, *SCAR_LENGTH)
    return CutPaste("scar", length, width, *ends, uniform(rng, -SCAR_TURN_DEG, SCAR_TURN_DEG), colours)


def apply_cutpaste(original: Image, donors: Sequence[Image], cut: CutPaste) -> tuple[Image, Mask]:
    """The changed image and its mask, made of the picture alone."""
    del donors
    height, width = original.shape[:2]
    across, down = (width, height) if cut.form == "patch" else (min(height, width),) * 2
    rows, cols = max(1, round(cut.height * down)), max(1, round(cut.width * across))
    top, left = round(cut.source[0] * (height - rows)), round(cut.source[1] * (width - cols))
    piece = jitter_colours(original[top : top + rows, left : left + cols], cut.colours)
    move = np.asarray(cv2.getRotationMatrix2D(((cols - 1) / 2, (rows - 1) / 2), cut.turn_deg, 1.0), np.float64)
    if cut.form == "patch":
        move[:, 2] += np.rint([cut.target[1] * (width - cols), cut.target[0] * (height - rows)])
    else:
        centre = np.array([cut.target[1] * (width - 1), cut.target[0] * (height - 1)])
        move[:, 2] += np.rint(centre - np.array([(cols - 1) / 2, (rows - 1) / 2]))
    size = (width, height)
    moved = cv2.warpAffine(piece, move, size, borderMode=cv2.BORDER_REPLICATE)
    there = np.ones((rows, cols), np.uint8)
    mask = cv2.warpAffine(there, move, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT) > 0
    return put(original, np.asarray(moved, np.uint8), mask), mask


def jitter_colours(image: Image, colours: Sequence[tuple[Operation, float]]) -> Image:
    """The image, uint8 (H, W, 3), after the operations in their order: factors of light, contrast and saturation."""
    for name, number in colours:
        if name == "hue":
            hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
            hsv[..., 0] = (hsv[..., 0].astype(np.int64) + round(number * 256)) % 256
            image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)
            continue
        levels, factor = image.astype(np.float32), np.float32(number)
        if name == "brightness":
            towards = np.zeros((1, 1, 1), np.float32)
        else:
            grey = np.rint(levels[..., 0] * GREY[0] + levels[..., 1] * GREY[1] + levels[..., 2] * GREY[2])[..., None]
            towards = np.full((1, 1, 1), np.rint(grey.mean(dtype=np.float64)), np.float32)
            towards = grey if name == "saturation" else towards
        image = np.clip(np.rint(towards + factor * (levels - towards)), 0, 255).astype(np.uint8)
    return image


def _root(area: float) -> float:
    return rounded(min(1.0, math.sqrt(area)))
