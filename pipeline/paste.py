"""Pasted objects: instances of another image put into this one (paper, section 3.3, "exchange")."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from configs.synth import Paste
from pipeline.arrays import Image, Mask


@dataclass(frozen=True)
class Placement:
    """Where and how one instance is pasted."""

    instance_id: int
    flip: bool  # left to right
    scale: float
    angle_deg: float
    row: float  # where the middle of the instance's box comes to lie, as a share of the height and of the width
    col: float


def draw_placements(rng: np.random.Generator, instance_ids: Sequence[int], config: Paste) -> tuple[Placement, ...]:
    """Draw how many of the instances are pasted, which, and how. The middle of each stays inside the image."""
    count = int(rng.integers(1, min(config.max_instances, len(instance_ids)), endpoint=True))
    chosen = rng.permutation(len(instance_ids))[:count]
    return tuple(
        Placement(
            instance_id=instance_ids[number],
            flip=bool(rng.random() < 0.5),
            # Uniform in the logarithm: half as large is as likely as twice as large.
            scale=float(np.exp(rng.uniform(np.log(config.scale.low), np.log(config.scale.high)))),
            angle_deg=float(rng.uniform(-config.rotate_deg, config.rotate_deg)),
            row=float(rng.random()),
            col=float(rng.random()),
        )
        for number in chosen
    )


def apply_paste(original: Image, donor: Image, placed: Sequence[tuple[Mask, Placement]]) -> tuple[Image, Mask]:
    """The changed image and its mask.

    Args:
        original: uint8 (H, W, 3).
        donor: the image the instances come from, of the same size.
        placed: each instance's mask in the donor, not empty, and its placement; later ones cover earlier ones.
    """
    height, width = original.shape[:2]
    changed, mask = original.copy(), np.zeros((height, width), np.bool_)
    for instance, placement in placed:
        move = _affine(instance, placement)
        pasted = cv2.warpAffine(instance.astype(np.uint8), move, (width, height), flags=cv2.INTER_NEAREST) > 0
        # Mirrored: a pixel at the rim of the mask may take its colour from half a pixel outside the donor's frame.
        pixels = cv2.warpAffine(donor, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        changed[pasted] = pixels[pasted]
        mask |= pasted
    return changed, mask


def _affine(instance: Mask, placement: Placement) -> npt.NDArray[np.float64]:
    """The (2, 3) map from donor to target pixels, as (col, row), that OpenCV takes."""
    height, width = instance.shape
    rows, cols = np.flatnonzero(instance.any(axis=1)), np.flatnonzero(instance.any(axis=0))
    middle = np.array([(cols[0] + cols[-1]) / 2, (rows[0] + rows[-1]) / 2])
    angle = np.deg2rad(placement.angle_deg)
    turn = placement.scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    if placement.flip:
        turn[:, 0] *= -1
    target = np.array([placement.col * (width - 1), placement.row * (height - 1)])
    return np.column_stack([turn, target - turn @ middle])
