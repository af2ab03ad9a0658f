"""Surfaces: stationary textures of which every place is as normal as another. Two places of one are two pictures.

A surface is cut out of a photograph and mirrored on, or drawn. `place` says which place of it is shown: the same draw
at two places has the same material and no pixel in common.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import cv2
import numpy as np
from pydantic import Field

from pipeline.arrays import Image
from pipeline.changes.numbers import Floats, bell, log_uniform, rounded, sine, uniform

TRIED_CUTS = 12  # places of a photograph, of which the most even one is taken
CELLS = 1 << 14  # different ones, taken again in no order
BLOCKS = 4  # a side, in which a cut is held against itself
LEAST_CONTRAST = 4.0  # levels, deviation: a flat patch of sky is no texture

Family = Literal["grain", "threads", "cells", "stripes"]


@dataclass(frozen=True)
class Cut:
    """A part of a photograph, shares of its sides, mirrored on in all directions."""

    row: float
    col: float
    height: float
    width: float
    material: Literal["cut"] = "cut"


@dataclass(frozen=True)
class Drawn:
    """A material drawn by code."""

    family: Family
    pitch: float  # of its structure, a share of the shorter side
    aspect: float  # of the pitch along and across
    angle_deg: float
    unevenness: float  # 0: as if printed; 1: hardly regular
    dark: tuple[float, float, float]  # RGB, 0..255
    light: tuple[float, float, float]
    seed: int
    material: Literal["drawn"] = "drawn"


Surface = Annotated[Cut | Drawn, Field(discriminator="material")]


def draw_cut(rng: np.random.Generator, photograph: Image) -> Cut:
    """Draw a part of a photograph: of some, the one whose parts are most alike."""
    cuts = [_draw_box(rng) for _ in range(TRIED_CUTS)]
    return min(cuts, key=lambda cut: unevenness(_crop(photograph, cut)))


def draw_material(rng: np.random.Generator) -> Drawn:
    """Draw a material."""
    family: Family = get_args(Family)[int(rng.integers(len(get_args(Family))))]
    tone = rng.uniform(20, 235, 3) if rng.random() < 0.5 else np.full(3, rng.uniform(20, 235))
    contrast = log_uniform(rng, 12.0, 120.0) * np.where(tone.mean() > 128, -1, 1) * rng.uniform(0.6, 1.0, 3)
    ends = [tuple(rounded(level) for level in np.clip(tone + share * contrast, 0, 255)) for share in (-0.5, 0.5)]
    return Drawn(
        family=family,
        pitch=log_uniform(rng, 0.02, 0.15),
        aspect=log_uniform(rng, 0.4, 2.5),
        angle_deg=uniform(rng, 0.0, 180.0),
        unevenness=uniform(rng, 0.0, 0.6),
        dark=(ends[0][0], ends[0][1], ends[0][2]),
        light=(ends[1][0], ends[1][1], ends[1][2]),
        seed=int(rng.integers(2**31)),
    )


def show(surface: Cut | Drawn, photograph: Image, height_width: tuple[int, int], place: int) -> Image:
    """A place of a surface; uint8 (H, W, 3).

    Args:
        surface: what is shown.
        photograph: that a cut is of, uint8 (h, w, 3); not used for a drawn one.
        height_width: of the picture.
        place: any number; the same gives the same picture.
    """
    if isinstance(surface, Cut):
        return _mirrored_on(_crop(photograph, surface), height_width, place)
    level = _levels(surface, height_width, place)[..., None]
    dark, light = np.array(surface.dark, np.float32), np.array(surface.light, np.float32)
    return np.asarray(np.clip(np.rint(dark + level * (light - dark)), 0, 255), np.uint8)


def unevenness(patch: Image) -> float:
    """How much the blocks of a patch differ from each other in brightness and contrast, in units of its contrast.

    Infinite for a patch without contrast.
    """
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = (side // BLOCKS * BLOCKS for side in grey.shape)
    if min(height, width) < 2 * BLOCKS or grey.std() < LEAST_CONTRAST:
        return math.inf
    blocks = grey[:height, :width].reshape(BLOCKS, height // BLOCKS, BLOCKS, width // BLOCKS)
    means, deviations = blocks.mean(axis=(1, 3)), blocks.std(axis=(1, 3))
    return float((means.std() + deviations.std()) / deviations.mean())


def _draw_box(rng: np.random.Generator) -> Cut:
    height, width = log_uniform(rng, 0.12, 0.5), log_uniform(rng, 0.12, 0.5)
    return Cut(uniform(rng, 0.0, 1 - height), uniform(rng, 0.0, 1 - width), height, width)


def _crop(photograph: Image, cut: Cut) -> Image:
    rows, cols = photograph.shape[:2]
    top, left = int(cut.row * rows), int(cut.col * cols)
    height, width = max(8, int(cut.height * rows)), max(8, int(cut.width * cols))
    return np.asarray(photograph[top : top + height, left : left + width], np.uint8)


def _mirrored_on(patch: Image, height_width: tuple[int, int], place: int) -> Image:
    """The patch and its mirror images, endlessly, from somewhere on."""
    sides = patch.shape[:2]
    starts = np.random.default_rng([place, 0]).integers(0, [2 * side for side in sides])
    rows, cols = (
        np.abs((start + np.arange(wanted) + side) % (2 * side) - side).clip(0, side - 1)
        for start, wanted, side in zip(starts, height_width, sides, strict=True)
    )
    return np.ascontiguousarray(patch[rows[:, None], cols])


def _levels(surface: Drawn, height_width: tuple[int, int], place: int) -> Floats:
    """How light the material is at each pixel, float32 (H, W) about [0, 1]."""
    rng = np.random.default_rng([surface.seed, place, 0])
    side = min(height_width)
    pitch = max(2.0, surface.pitch * side)
    angle = math.radians(surface.angle_deg)
    rows, cols = np.mgrid[0 : height_width[0], 0 : height_width[1]].astype(np.float32)
    rows, cols = rows + np.float32(rng.uniform(0, 9 * side)), cols + np.float32(rng.uniform(0, 9 * side))
    wobble = surface.unevenness * pitch * 0.6
    if wobble:
        rows = rows + wobble * _smooth(rng, height_width, 2 * pitch)
        cols = cols + wobble * _smooth(rng, height_width, 2 * pitch)
    along = (cols * math.cos(angle) + rows * math.sin(angle)) / pitch
    across = (rows * math.cos(angle) - cols * math.sin(angle)) / (pitch * surface.aspect)
    if surface.family == "grain":
        level = 0.5 + 0.25 * _smooth(rng, height_width, pitch / 2, surface.aspect, surface.angle_deg)
    elif surface.family == "threads":
        warp, weft = np.abs(sine(along / 2)), np.abs(sine(across / 2))
        over = (np.floor(along) + np.floor(across)) % 2 == 0
        level = np.where(over, warp, weft)
    elif surface.family == "stripes":
        level = 0.5 + 0.5 * sine(along)
    else:
        level = _cells(surface, along, across)
    grains = 0.12 * surface.unevenness * rng.standard_normal(height_width)
    return np.asarray(level + grains, np.float32)


def _cells(surface: Drawn, along: Floats, across: Floats) -> Floats:
    """A lattice of cells, each of its own lightness and with its middle off the lattice: the nearest middle counts."""
    table = np.random.default_rng([surface.seed, 1]).random((3, CELLS), dtype=np.float32)
    row, col = np.floor(along).astype(np.int64), np.floor(across).astype(np.int64)
    nearest, level = np.full(along.shape, np.inf, np.float32), np.zeros(along.shape, np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            number = ((row + down) * 7919 + (col + right) * 104729 + surface.seed) % CELLS
            off_row, off_col, own = (values[number] for values in table)
            far = (along - row - down - off_row) ** 2 + (across - col - right - off_col) ** 2
            closer = far < nearest
            nearest, level = np.where(closer, far, nearest), np.where(closer, own, level)
    return level


def _smooth(
    rng: np.random.Generator,
    height_width: tuple[int, int],
    scale_px: float,
    aspect: float = 1.0,
    angle_deg: float = 0.0,
) -> Floats:
    """Noise of mean 0 and deviation 1 with a structure of about `scale_px`, float32 (H, W)."""
    height, width = height_width
    noise = rng.standard_normal((height, width)).astype(np.float32)
    across, along = max(0.6, scale_px / 2 * aspect), max(0.6, scale_px / 2)
    reach = int(min(3 * max(along, across), min(height_width) / 2 - 1))
    rows, cols = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    angle = math.radians(angle_deg)
    first = (cols * math.cos(angle) + rows * math.sin(angle)) / along
    second = (rows * math.cos(angle) - cols * math.sin(angle)) / across
    kernel = bell(first) * bell(second)
    smooth = cv2.filter2D(noise, -1, kernel / np.sqrt((kernel**2).sum()), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(smooth, np.float32)
