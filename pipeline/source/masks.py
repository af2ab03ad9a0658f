"""Masks in other sizes, by how much of each pixel they cover."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.arrays import Mask

ROUNDING = 1e-6  # of a pixel's area: far above that of float64 sums over photographs

Coverage = npt.NDArray[np.float64]


def resize_mask(mask: Mask, size: tuple[int, int]) -> Mask:
    """Stretch a mask to `size` (height, width): True where it covers at least half of the pixel's area."""
    return _where_covered(mask, size, 0.5 - ROUNDING)


def touched(mask: Mask, size: tuple[int, int]) -> Mask:
    """Stretch a mask to `size` (height, width): True where it covers any of the pixel."""
    return _where_covered(mask, size, ROUNDING)


def coverage(mask: Mask, size: tuple[int, int]) -> tuple[tuple[slice, slice], Coverage]:
    """The share of each pixel's area that a mask, not empty, covers when it is stretched to `size` (height, width).

    The sum over a rectangle with edges between pixels is linear in each edge: the sums up to the new pixels' edges are
    interpolated between those of the mask.

    Returns:
        The rows and columns of the pixels that the mask's box touches, and their shares, float64 in [0, 1].
    """
    rows, cols = window_of(mask)
    down, row_edges = _new_edges(rows, mask.shape[0], size[0])
    across, col_edges = _new_edges(cols, mask.shape[1], size[1])
    sums = np.asarray(cv2.integral(mask[rows, cols].view(np.uint8), sdepth=cv2.CV_64F), np.float64)
    strips = np.diff(_between(sums, row_edges), axis=0)
    pixel_area = mask.size / (size[0] * size[1])
    return (down, across), np.diff(_between(strips.T, col_edges), axis=0).T / pixel_area


def window_of(mask: Mask) -> tuple[slice, slice]:
    """The rows and columns of the smallest box that holds a mask; empty slices for an empty mask."""
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(top, top + height), slice(left, left + width)


def _where_covered(mask: Mask, size: tuple[int, int], above: float) -> Mask:
    if mask.flags.f_contiguous and not mask.flags.c_contiguous:  # COCO's masks; going across them takes twice as long
        return np.ascontiguousarray(_where_covered(mask.T, (size[1], size[0]), above).T)
    found = np.zeros(size, np.bool_)
    if mask.any():
        window, share = coverage(mask, size)
        found[window] = share > above
    return found


def _new_edges(span: slice, before: int, after: int) -> tuple[slice, Coverage]:
    """Which of `after` new pixels touch `span` of `before` old ones, and their edges in `span`, in old pixels."""
    first, stop = span.start * after // before, -(-span.stop * after // before)
    edges = np.arange(first, stop + 1) * (before / after)
    return slice(first, stop), np.clip(edges, span.start, span.stop) - span.start


def _between(rows: npt.NDArray[Any], places: Coverage) -> Coverage:
    """Rows of an array at places between them, interpolated."""
    below = np.minimum(places.astype(np.intp), len(rows) - 2)
    lower = rows[below]
    return np.asarray(lower + (places - below)[:, None] * (rows[below + 1] - lower))
