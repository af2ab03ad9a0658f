"""Pasted objects: instances of another image put into this one (paper, section 3.3, "exchange")."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from configs.synth import Paste
from pipeline.arrays import Image, Mask
from pipeline.changes.numbers import log_uniform, rounded
from pipeline.changes.visible import put
from pipeline.source import window_of

BEYOND_EDGE = 0.01  # of the image: annotators stop a little short of the edge, and pixels are rounded


@dataclass(frozen=True)
class Cutout:
    """An instance that may be pasted, with the sides of its box as shares of its image's.

    One that an edge of its image cuts is pasted upright at the same edge: in the middle of a picture it would show a
    straight side that no real object has.
    """

    instance_id: int
    height: float
    width: float
    edges: tuple[int, int] = (0, 0)  # down and across: -1 cut by the top or left edge, 1 by the bottom or right, 0 not


@dataclass(frozen=True)
class Placement:
    """Where and how one instance is pasted."""

    instance_id: int
    flip: bool  # left to right
    scale: float
    angle_deg: float
    row: float  # where the middle of the instance's box comes to lie, as a share of the height and of the width
    col: float


def draw_placements(
    rng: np.random.Generator, cutouts: Sequence[Cutout], size: tuple[int, int], config: Paste
) -> tuple[Placement, ...]:
    """Draw how many of the instances are pasted, which, and how.

    At least `min_inside` of either side of each whole instance's box comes to lie inside the image.

    Args:
        rng: draws.
        cutouts: the instances there are, at least one.
        size: height and width of the image in pixels; only their ratio matters.
        config: how many, how large, how far turned.
    """
    count = int(rng.integers(1, min(config.max_instances, len(cutouts)), endpoint=True))
    return tuple(
        _draw_placement(rng, cutouts[number], size, config) for number in rng.permutation(len(cutouts))[:count]
    )


def apply_paste(
    original: Image, donor: Image, placed: Sequence[tuple[Mask, Placement]], feather_px: int = 0
) -> tuple[Image, Mask]:
    """The changed image and its mask.

    Args:
        original: uint8 (H, W, 3).
        donor: the image the instances come from, of the same size.
        placed: each instance's mask in the donor, not empty, and its placement; later ones cover earlier ones.
        feather_px: over how many pixels inward from its edge an instance fades in; outside the mask nothing changes.
    """
    changed, mask = original.copy(), np.zeros(original.shape[:2], np.bool_)
    for instance, placement in placed:
        move = _affine(instance, placement)
        window = _window_of_moved(instance, move)
        pasted = _warp(instance.view(np.uint8) * np.uint8(255), move, window, cv2.BORDER_CONSTANT) >= 128
        # Mirrored: a pixel at the rim of the mask may take its colour from half a pixel outside the donor's frame.
        under, over = changed[window], _warp(donor, move, window, cv2.BORDER_REFLECT_101)
        if feather_px:
            over = _fade_in(under, over, pasted, feather_px)
        changed[window] = put(under, over, pasted)
        mask[window] |= pasted
    return changed, mask


def _draw_placement(rng: np.random.Generator, cutout: Cutout, size: tuple[int, int], config: Paste) -> Placement:
    flip = bool(rng.random() < 0.5)
    scale = log_uniform(rng, config.scale.low, config.scale.high)
    angle_deg = float(rng.uniform(-config.rotate_deg, config.rotate_deg)) if cutout.edges == (0, 0) else 0.0
    cos, sin = abs(math.cos(math.radians(angle_deg))), abs(math.sin(math.radians(angle_deg)))
    down, across = scale * cutout.height * size[0], scale * cutout.width * size[1]
    return Placement(
        instance_id=cutout.instance_id,
        flip=flip,
        scale=scale,
        angle_deg=angle_deg,
        row=_draw_middle(rng, (cos * down + sin * across) / size[0], cutout.edges[0], config.min_inside),
        col=_draw_middle(
            rng, (cos * across + sin * down) / size[1], -cutout.edges[1] if flip else cutout.edges[1], config.min_inside
        ),
    )


def _draw_middle(rng: np.random.Generator, side: float, edge: int, min_inside: float) -> float:
    """The middle of a side of that length: at the `edge`, or such that `min_inside` of it lies in [0, 1], if it can."""
    if edge:
        at_start = side / 2 - BEYOND_EDGE
        return rounded(at_start if edge < 0 else 1 - at_start)
    low = min((min_inside - 0.5) * side, 0.5)
    return rounded(rng.uniform(low, 1 - low))


def _fade_in(under: Image, over: Image, mask: Mask, feather_px: int) -> Image:
    """`over` inside the mask, mixed with `under` from 1 / (feather_px + 1) at the mask's edge on."""
    inward = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)  # 1 on the edge
    opacity = np.minimum(inward / (feather_px + 1), 1)[..., None]
    return np.asarray(np.rint(opacity * over + (1 - opacity) * under), np.uint8)


def _affine(instance: Mask, placement: Placement) -> npt.NDArray[np.float64]:
    """The (2, 3) map from donor to target pixels, as (col, row), that OpenCV takes."""
    height, width = instance.shape
    rows, cols = window_of(instance)
    middle = np.array([(cols.start + cols.stop - 1) / 2, (rows.start + rows.stop - 1) / 2])
    angle = math.radians(placement.angle_deg)
    cos, sin = placement.scale * math.cos(angle), placement.scale * math.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    if placement.flip:
        turn[:, 0] *= -1
    target = np.array([placement.col * (width - 1), placement.row * (height - 1)])
    return np.column_stack([turn, target - turn @ middle])


def _window_of_moved(instance: Mask, move: npt.NDArray[np.float64]) -> tuple[slice, slice]:
    """The rows and columns that hold a moved instance, with empty ones around it as far as the image reaches."""
    rows, cols = window_of(instance)
    corners = np.array([(col, row, 1) for row in (rows.start, rows.stop - 1) for col in (cols.start, cols.stop - 1)])
    moved = move @ corners.T  # (2, 4), as (col, row)
    reach = np.abs(move[:, :2]).sum(axis=1) + 1  # a pixel of the donor fades out over as many of the target
    first = np.floor(moved.min(axis=1) - reach).astype(int)
    stop = np.ceil(moved.max(axis=1) + reach).astype(int) + 1
    height, width = instance.shape
    return _span(first[1], stop[1], height), _span(first[0], stop[0], width)


def _span(first: int, stop: int, size: int) -> slice:
    """What of first .. stop - 1 lies in 0 .. size - 1, at least one."""
    start = min(max(first, 0), size - 1)
    return slice(start, max(min(stop, size), start + 1))


def _warp(
    values: npt.NDArray[np.uint8], move: npt.NDArray[np.float64], window: tuple[slice, slice], border: int
) -> npt.NDArray[np.uint8]:
    """A window of what `values`, moved, would be."""
    rows, cols = window
    into = move - [[0, 0, cols.start], [0, 0, rows.start]]
    size = (cols.stop - cols.start, rows.stop - rows.start)
    return np.asarray(cv2.warpAffine(values, into, size, borderMode=border), np.uint8)
