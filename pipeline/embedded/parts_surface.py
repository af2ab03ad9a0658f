"""A part's surface before light falls on it, and a category as the way to lay out, spoil and build one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np

from pipeline.arrays import Mask
from pipeline.embedded.drawing.fields import Field, Picture
from pipeline.embedded.drawing.outlines import Outline, Points, cover

Layout = TypeVar("Layout")


class Surface(NamedTuple):
    """Colour and height of a square piece, `side` pixels wide."""

    albedo: Picture
    relief_px: Field
    inside: Mask  # where a flaw of the surface may lie
    gloss: float

    @property
    def unit(self) -> float:
        """Pixels per 1/256 of the side: lengths are given in this unit, so that any size shows the same piece."""
        return self.albedo.shape[0] / 256


SurfaceFlaw = Callable[[Surface, np.random.Generator], Surface]


@dataclass(frozen=True)
class Category(Generic[Layout]):
    """A kind of part.

    All chance of a flawless piece is in its layout, so that a flaw added to the layout or to the surface changes
    nothing else.
    """

    lay_out: Callable[[int, np.random.Generator], Layout]  # side in pixels
    build: Callable[[Layout], Surface]
    layout_flaws: Mapping[str, Callable[[Layout, np.random.Generator], Layout]]
    surface_flaws: Mapping[str, SurfaceFlaw]

    @property
    def flaws(self) -> tuple[str, ...]:
        """Names of all flaws."""
        return (*self.layout_flaws, *self.surface_flaws)

    def spoiled(self, layout: Layout, flawless: Surface, flaw: str, rng: np.random.Generator) -> Surface:
        """The surface of that layout with one flaw; `flawless` is the one without."""
        if flaw in self.layout_flaws:
            return self.build(self.layout_flaws[flaw](layout, rng))
        return self.surface_flaws[flaw](flawless, rng)


def coverage(height: int, width: int, *solids: Points) -> Field:
    """How much of each pixel the union of polygons covers; float32 (H, W) in [0, 1]."""
    canvas = np.zeros((height, width), np.float32)
    seen = cover(Outline(solids), height, width)
    if seen is not None:
        canvas[seen.window] = seen.whole
    return canvas


def blurred(field: Field, sigma_px: float) -> Field:
    """A Gaussian blur of a float32 (H, W) field."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px), dtype=np.float32)
