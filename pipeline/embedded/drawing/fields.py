"""Scalar fields and colours: what every material and every relief is made of."""

import colorsys
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]  # float32 (H, W), mostly in [0, 1]
Picture = npt.NDArray[np.float32]  # float32 (H, W, 3), RGB, 0 black .. 1 white
Colour = npt.NDArray[np.float32]  # float32 (3,), RGB in [0, 1]


def smooth_noise(height: int, width: int, cell_px: tuple[float, float], rng: np.random.Generator) -> Field:
    """Lattice noise float32 (H, W) around [0, 1] whose bumps are `cell_px` = (rows, columns) wide."""
    cells = [max(1.0, cell) for cell in cell_px]
    rows, cols = (ceil(extent / cell) + 3 for extent, cell in zip((height, width), cells, strict=True))
    lattice = rng.random((rows, cols), dtype=np.float32)
    # resize, not remap: remap rounds positions to 1/32 of a lattice cell, which shows as terraces in a relief.
    grown = cv2.resize(lattice, (ceil(cols * cells[1]), ceil(rows * cells[0])), interpolation=cv2.INTER_CUBIC)
    row0 = int(rng.integers(1, 1 + ceil(cells[0])))
    col0 = int(rng.integers(1, 1 + ceil(cells[1])))
    return np.asarray(grown[row0 : row0 + height, col0 : col0 + width], dtype=np.float32)


def fractal_noise(
    height: int,
    width: int,
    cell_px: float,
    rng: np.random.Generator,
    *,
    stretch: float = 1.0,
    persistence: float = 0.55,
) -> Field:
    """Noise float32 (H, W) stretched to [0, 1]: octaves from `cell_px` down to one pixel.

    Args:
        height: rows.
        width: columns.
        cell_px: size of the coarsest bumps.
        rng: source of the lattices.
        stretch: how many times longer bumps are along rows than across (wood, brushed metal).
        persistence: strength of an octave relative to the one twice its size.
    """
    total = np.zeros((height, width), np.float32)
    strength = 1.0
    while cell_px >= 1:
        total += strength * smooth_noise(height, width, (cell_px, cell_px * stretch), rng)
        strength *= persistence
        cell_px /= 2
    return normalise(total)


def normalise(field: Field) -> Field:
    """`field` mapped linearly so that its least value is 0 and its greatest is 1."""
    low, high = float(field.min()), float(field.max())
    return (field - np.float32(low)) / np.float32(max(high - low, 1e-6))


def smoothstep(field: Field, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, a smooth ramp between; float32 (H, W)."""
    ramp = np.clip((field - low) / (high - low), 0, 1).astype(np.float32)
    return ramp * ramp * (3 - 2 * ramp)


def turned_coordinates(height: int, width: int, angle_rad: float) -> tuple[Field, Field]:
    """Coordinates in pixels along and across a direction, from the centre; two float32 (H, W)."""
    rows, cols = np.mgrid[:height, :width].astype(np.float32)
    rows -= (height - 1) / 2
    cols -= (width - 1) / 2
    cos, sin = np.float32(np.cos(angle_rad)), np.float32(np.sin(angle_rad))
    return cos * cols + sin * rows, cos * rows - sin * cols


def mix(first: Picture | Colour, second: Picture | Colour, share: Field) -> Picture:
    """`first` where `share` is 0, `second` where it is 1, blends between; float32 (H, W, 3)."""
    weight = share[..., None]
    return (first + (second - first) * weight).astype(np.float32)


def draw_palette(count: int, rng: np.random.Generator) -> list[Colour]:
    """`count` colours that go together: hues spread a drawn way around a drawn hue, brightness well apart."""
    hue = rng.random()
    spread = rng.choice([0.04, 0.12, 0.35, 0.5])
    saturation = rng.beta(1.3, 2.2)  # most of what a camera sees is nearly grey
    values = rng.permutation(np.linspace(0.25, 0.95, count)) if count > 1 else rng.uniform(0.3, 0.95, 1)
    return [
        np.array(
            colorsys.hsv_to_rgb(
                (hue + spread * rng.uniform(-1, 1)) % 1.0,
                float(np.clip(saturation + rng.uniform(-0.25, 0.25), 0, 1)),
                float(np.clip(value + rng.uniform(-0.1, 0.1), 0.12, 1)),
            ),
            dtype=np.float32,
        )
        for value in values
    ]
