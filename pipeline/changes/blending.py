"""How the pixels of a flaw look, and how they are blended in under a soft mask."""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.arrays import Image, Mask
from pipeline.changes.numbers import log_uniform, rounded

Alpha = npt.NDArray[np.float32]  # float32 (H, W) in [0, 1]
Manner = Literal["darker", "lighter", "colour", "blurred", "shifted"]
IN_MASK = 0.25  # a pixel belongs to a flaw that covers at least so much of it


@dataclass(frozen=True)
class Look:
    """What is seen where the flaw is."""

    manner: Manner
    colour: tuple[float, float, float]  # RGB, 0..255; of manner "colour"
    shift: tuple[float, float]  # down and across, shares of the shorter side; of manner "shifted"
    strength: float  # of the flaw in the blend, in (0, 1]; small: barely to be seen


def draw_look(rng: np.random.Generator) -> Look:
    """Draw a look: of the picture's own light and colours more often than of another colour."""
    manner: Manner = get_args(Manner)[int(rng.choice(5, p=[0.25, 0.25, 0.15, 0.15, 0.2]))]
    red, green, blue = (rounded(level) for level in rng.uniform(0, 255, 3))
    down, across = (rounded(share) for share in rng.uniform(-0.08, 0.08, 2))
    return Look(manner, (red, green, blue), (down, across), log_uniform(rng, 0.2, 1.0))


def seen_through(image: Image, look: Look) -> Image:
    """The whole image as it would look if the flaw were everywhere; uint8 (H, W, 3)."""
    side = min(image.shape[:2])
    if look.manner == "darker":
        return np.asarray(cv2.convertScaleAbs(image, alpha=0.25), np.uint8)
    if look.manner == "lighter":
        return np.asarray(255 - cv2.convertScaleAbs(255 - image, alpha=0.35), np.uint8)
    if look.manner == "colour":
        return np.broadcast_to(np.rint(look.colour).astype(np.uint8), image.shape)
    if look.manner == "blurred":
        return np.asarray(cv2.blur(image, (max(3, side // 16),) * 2, borderType=cv2.BORDER_REFLECT_101), np.uint8)
    down, across = (round(share * side) for share in look.shift)
    return np.roll(image, (down, across), axis=(0, 1))


def blend(image: Image, flaw: Image, alpha: Alpha, strength: float) -> tuple[Image, Mask]:
    """The image with the flaw laid over it, `strength * alpha` opaque, and the mask of where it is.

    Args:
        image: uint8 (H, W, 3).
        flaw: uint8 (H, W, 3).
        alpha: float32 (H, W) in [0, 1].
        strength: in (0, 1].
    """
    mask = alpha >= IN_MASK
    opacity = (strength * alpha * mask)[..., None]
    mixed = np.rint(image + opacity * (flaw.astype(np.float32) - image))
    return mixed.astype(np.uint8), mask
