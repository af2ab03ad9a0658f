"""Outlines: the shape of a thing in its own unit frame, and the pixels it covers once it is placed."""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.embedded.drawing.fields import Field

Points = npt.NDArray[np.float64]  # float64 (N, 2), columns and rows

TURN = np.linspace(0, 2 * np.pi, 96, endpoint=False)
_OVERSAMPLING = 4  # subpixels along each side of a pixel


class Outline(NamedTuple):
    """Closed polygons in units of the thing's radius: the union of `solids` without `holes`."""

    solids: tuple[Points, ...]
    holes: tuple[Points, ...] = ()


class Cover(NamedTuple):
    """How much of each pixel a placed outline covers, cropped to the part inside the image."""

    whole: Field  # float32 (h, w) in [0, 1]
    solids: tuple[Field, ...]  # the same for each solid alone
    row0: int
    col0: int

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the crop in the image."""
        height, width = self.whole.shape
        return slice(self.row0, self.row0 + height), slice(self.col0, self.col0 + width)


def place(outline: Outline, centre: tuple[float, float], radius_px: float, angle_rad: float) -> Outline:
    """`outline` scaled, turned and moved to `centre` = (column, row) in pixels."""
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    turn = radius_px * np.array([[cos, sin], [-sin, cos]])

    def moved(points: Points) -> Points:
        return points @ turn + centre

    return Outline(tuple(map(moved, outline.solids)), tuple(map(moved, outline.holes)))


def cover(outline: Outline, height: int, width: int) -> Cover | None:
    """Pixels that a placed outline covers in an image of that size; None if it lies outside."""
    points = np.concatenate(outline.solids)
    col0, row0 = np.maximum(np.floor(points.min(axis=0)) - 1, 0).astype(int).tolist()
    col1, row1 = np.minimum(np.ceil(points.max(axis=0)) + 1, (width, height)).astype(int).tolist()
    if row1 - row0 < 1 or col1 - col0 < 1:
        return None
    origin, size = np.array([col0, row0]), (row1 - row0, col1 - col0)
    solids = [_fill(points - origin, size) for points in outline.solids]
    whole = np.maximum.reduce(solids)
    for points in outline.holes:
        whole = whole & ~_fill(points - origin, size)
    return Cover(_shrink(whole, size), tuple(_shrink(solid, size) for solid in solids), row0, col0)


def ellipse(columns: float, rows: float, centre: tuple[float, float] = (0, 0)) -> Points:
    """An ellipse with these half axes."""
    return np.asarray(np.stack([columns * np.cos(TURN), rows * np.sin(TURN)], axis=1) + centre)


def superellipse(columns: float, rows: float, power: float, centre: tuple[float, float] = (0, 0)) -> Points:
    """Between an ellipse (power 2) and a rectangle (large power): a rectangle with round corners."""
    cos, sin = np.cos(TURN), np.sin(TURN)
    col = columns * np.sign(cos) * np.abs(cos) ** (2 / power)
    row = rows * np.sign(sin) * np.abs(sin) ** (2 / power)
    return np.asarray(np.stack([col, row], axis=1) + centre)


def polar(radius: npt.NDArray[np.float64]) -> Points:
    """A closed curve from its radius at equally spaced angles."""
    angle = np.linspace(0, 2 * np.pi, len(radius), endpoint=False)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def bar(start: tuple[float, float], end: tuple[float, float], breadth: float) -> Points:
    """A straight bar between two points."""
    first, last = np.array(start, float), np.array(end, float)
    along = (last - first) / np.hypot(*(last - first))
    side = breadth / 2 * np.array([-along[1], along[0]])
    return np.array([first + side, last + side, last - side, first - side])


def profile(half_widths: npt.NDArray[np.float64]) -> Points:
    """A body of revolution seen from the side: its half widths at equally spaced heights from top to bottom."""
    rows = np.linspace(-1, 1, 64)
    knots = np.linspace(-1, 1, len(half_widths))
    half = np.interp(rows, knots, half_widths)
    half = np.convolve(np.pad(half, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    return np.concatenate([np.stack([half, rows], axis=1), np.stack([-half, rows], axis=1)[::-1]])


def _fill(points: Points, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """One polygon on the subpixel lattice: uint8 (4 h, 4 w), 0 or 255."""
    lattice = np.zeros((_OVERSAMPLING * size[0], _OVERSAMPLING * size[1]), np.uint8)
    # Positions on the lattice are centres of subpixels, hence the half; 4 bits of fraction.
    fixed = np.rint((_OVERSAMPLING * points - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(lattice, [fixed], (255,), shift=4)
    return lattice


def _shrink(lattice: npt.NDArray[np.uint8], size: tuple[int, int]) -> Field:
    """Subpixels averaged to coverage float32 (h, w) in [0, 1]."""
    mean = cv2.resize(lattice, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(mean, dtype=np.float32) / np.float32(255)
