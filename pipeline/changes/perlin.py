"""Perlin noise: the field of `noise.pnoise2` over an image, fifty times faster than calling it point by point.

Perlin noise is bilinear in the gradients at the lattice nodes, so the package is asked for the gradients alone, once,
and the field between them is evaluated for all pixels at once.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import noise
import numpy as np
import numpy.typing as npt

from pipeline.arrays import Mask

LATTICE = 256  # the permutation table of Perlin noise repeats after this many nodes
# Next to a node the noise is (gradient . step) up to a term of order step^3: its components, -1, 0 or 1, come out by
# rounding. A power of two adds to a node's coordinate without error in float32, which is what the package computes in.
STEP = 2.0**-6

Field = npt.NDArray[np.float32]  # float32 (H, W)


@dataclass(frozen=True)
class PerlinMask:
    """One draw of a Perlin mask: everything `perlin_mask` needs but the size."""

    rows_log2: int  # lattice cells over the height are 2 to this
    cols_log2: int
    row0: int  # place of the field in the lattice, 0..255
    col0: int
    angle_deg: float


def draw_perlin_mask(rng: np.random.Generator, scales_log2: tuple[int, int], rotate_deg: float) -> PerlinMask:
    """Draw the two scales, 2^low .. 2^high cells, the place in the lattice, and the rotation, up to either way."""
    rows_log2, cols_log2 = (int(scale) for scale in rng.integers(*scales_log2, size=2, endpoint=True))
    row0, col0 = (int(node) for node in rng.integers(LATTICE, size=2))
    angle_deg = float(rng.uniform(-rotate_deg, rotate_deg))
    return PerlinMask(rows_log2, cols_log2, row0, col0, angle_deg)


def perlin_mask(draw: PerlinMask, height_width: tuple[int, int], threshold: float) -> Mask:
    """Where the drawn noise, turned about the centre with zeros coming in, is above `threshold`: bool (H, W)."""
    height, width = height_width
    field = perlin_field(height_width, (2**draw.rows_log2, 2**draw.cols_log2), (draw.row0, draw.col0))
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), draw.angle_deg, 1.0)
    return np.asarray(cv2.warpAffine(field, turn, (width, height)) > threshold)


def perlin_field(height_width: tuple[int, int], cells: tuple[int, int], origin: tuple[int, int]) -> Field:
    """Perlin noise in [-1, 1] over an image, equal to `noise.pnoise2` within 1e-5.

    Args:
        height_width: of the field in pixels.
        cells: lattice cells over the height and over the width.
        origin: row and column of the lattice node at the first pixel.

    Returns:
        float32 (H, W); pixel (r, c) is `pnoise2(x=origin[1] + c * cells[1] / W, y=origin[0] + r * cells[0] / H)`.
    """
    node_row, from_row, fade_row = _axis(height_width[0], cells[0], origin[0])
    node_col, from_col, fade_col = _axis(height_width[1], cells[1], origin[1])
    gradient_y, gradient_x = _gradients(cells, origin)
    # Along the columns first, once per lattice row: the part that does not depend on the row, and the slope in it.
    left, right = gradient_x[:, node_col] * from_col, gradient_x[:, node_col + 1] * (from_col - 1)
    level = left + fade_col * (right - left)  # (cells[0] + 1, W)
    upper, lower = gradient_y[:, node_col], gradient_y[:, node_col + 1]
    slope = upper + fade_col * (lower - upper)  # (cells[0] + 1, W)
    above = level[node_row] + slope[node_row] * from_row[:, None]  # (H, W)
    below = level[node_row + 1] + slope[node_row + 1] * (from_row[:, None] - 1)
    return np.asarray(above + fade_row[:, None] * (below - above), np.float32)


def _axis(size_px: int, cells: int, origin: int) -> tuple[npt.NDArray[np.intp], Field, Field]:
    """For each pixel of an axis: its cell, its distance from the cell's first node, and Perlin's quintic fade of it."""
    # Rounded to float32 where the package rounds: at its point of the lattice, not at its distance from the origin.
    at = (origin + np.arange(size_px) * cells / size_px).astype(np.float32)
    node = np.floor(at)
    t = at - node
    return node.astype(np.intp) - origin, t, t**3 * (t * (t * 6 - 15) + 10)


def _gradients(cells: tuple[int, int], origin: tuple[int, int]) -> tuple[Field, Field]:
    """Row and column components of the gradients at the lattice nodes, each float32 (cells[0] + 1, cells[1] + 1)."""
    rows, cols = ((first + np.arange(count + 1)) % LATTICE for first, count in zip(origin, cells, strict=True))
    along_rows, along_cols = _all_gradients()
    nodes = np.ix_(rows, cols)
    return along_rows[nodes], along_cols[nodes]


@cache
def _all_gradients() -> tuple[Field, Field]:
    """Row and column components of the gradients at every node, each float32 (LATTICE, LATTICE): 80 ms, once."""
    nodes = range(LATTICE)
    along_rows = [[noise.pnoise2(col, row + STEP) for col in nodes] for row in nodes]
    along_cols = [[noise.pnoise2(col + STEP, row) for col in nodes] for row in nodes]
    return (
        np.rint(np.array(along_rows, np.float32) / STEP),
        np.rint(np.array(along_cols, np.float32) / STEP),
    )
