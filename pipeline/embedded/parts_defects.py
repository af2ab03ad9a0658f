"""Flaws that any surface can have: scratch, crack, hole, stain, loose thread.

They are drawn as geometry (ribbons and blobs that change height and colour), by no code that synthesis uses: a score on
the embedded benchmark must not measure how well a network knows its own training changes.
"""

import numpy as np

from pipeline.embedded.drawing.fields import Colour, mix
from pipeline.embedded.drawing.outlines import TURN, Points
from pipeline.embedded.parts_surface import Surface, blurred, coverage


def scratch(surface: Surface, rng: np.random.Generator) -> Surface:
    """One to three long shallow grooves side by side, brighter or darker than the surface."""
    unit, side = surface.unit, surface.albedo.shape[0]
    start, heading = _anchor(surface, rng), rng.uniform(0, 2 * np.pi)
    grooves = []
    for _ in range(int(rng.integers(1, 4))):
        offset = rng.normal(0, 6 * unit, 2)
        length = rng.uniform(45, 110) * unit
        path = _path(start + offset, heading + rng.normal(0, 0.1), length, bend=rng.normal(0, 0.6), jag=0, rng=rng)
        grooves.append(_ribbon(path, rng.uniform(1.4, 2.8) * unit))
    mark = coverage(side, side, *grooves) * surface.inside
    is_bright = surface.albedo[surface.inside].mean() > 0.5
    under = 0.4 * surface.albedo if is_bright else 1.2 * surface.albedo + rng.uniform(0.15, 0.3)
    return surface._replace(
        albedo=mix(surface.albedo, under.astype(np.float32), 0.8 * mark),
        relief_px=surface.relief_px - 1.5 * unit * mark,
    )


def crack(surface: Surface, rng: np.random.Generator) -> Surface:
    """A dark jagged line with one or two branches."""
    unit, side = surface.unit, surface.albedo.shape[0]
    heading = rng.uniform(0, 2 * np.pi)
    trunk = _path(_anchor(surface, rng), heading, rng.uniform(50, 110) * unit, bend=0, jag=0.5, rng=rng)
    ribbons = [_ribbon(trunk, rng.uniform(2.2, 4) * unit)]
    for _ in range(int(rng.integers(1, 3))):
        fork = trunk[rng.integers(3, len(trunk) - 3)]
        turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1)
        branch = _path(fork, heading + turn, rng.uniform(20, 45) * unit, bend=0, jag=0.5, rng=rng)
        ribbons.append(_ribbon(branch, rng.uniform(1.2, 2.4) * unit))
    mark = coverage(side, side, *ribbons) * surface.inside
    return surface._replace(
        albedo=mix(surface.albedo, 0.25 * surface.albedo, mark),
        relief_px=surface.relief_px - 3 * unit * mark,
    )


def hole(surface: Surface, rng: np.random.Generator) -> Surface:
    """A ragged opening with nothing but dark behind."""
    unit, side = surface.unit, surface.albedo.shape[0]
    mark = coverage(side, side, _blob(_anchor(surface, rng), rng.uniform(7, 20) * unit, 0.12, rng)) * surface.inside
    dark = np.array([0.06, 0.055, 0.05], np.float32) + 0.12 * surface.albedo
    return surface._replace(
        albedo=mix(surface.albedo, dark.astype(np.float32), mark),
        relief_px=surface.relief_px * (1 - mark) - 5 * unit * blurred(mark, 1.5 * unit),
    )


def chip(surface: Surface, rng: np.random.Generator) -> Surface:
    """A shallow angular break that bares a paler inside."""
    unit, side = surface.unit, surface.albedo.shape[0]
    corners = _blob(_anchor(surface, rng), rng.uniform(9, 20) * unit, 0.2, rng)[:: int(rng.integers(9, 14))]
    mark = coverage(side, side, corners) * surface.inside
    grey = 0.35 * surface.albedo + 0.65 * surface.albedo.mean(axis=(0, 1)) * np.float32(rng.choice([0.6, 1.3]))
    return surface._replace(
        albedo=mix(surface.albedo, grey.astype(np.float32), mark),
        relief_px=surface.relief_px - 4 * unit * blurred(mark, 1.2 * unit),
    )


def stain(surface: Surface, rng: np.random.Generator) -> Surface:
    """A spill: it takes some light of each colour, most at its rim, where it dried last."""
    tint = rng.uniform(0.45, 0.95, 3) * rng.uniform(0.65, 0.9)
    return _spill(surface, tint.astype(np.float32), rng)


def rust(surface: Surface, rng: np.random.Generator) -> Surface:
    """A brown patch."""
    tint = np.array([0.75, 0.42, 0.2], np.float32) * np.float32(rng.uniform(0.75, 1.1))
    return _spill(surface, tint, rng)


def loose_thread(surface: Surface, rng: np.random.Generator) -> Surface:
    """A foreign thread that lies across the surface in a bow."""
    unit, side = surface.unit, surface.albedo.shape[0]
    bend = rng.choice([-1, 1]) * rng.uniform(1, 3)
    path = _path(_anchor(surface, rng), rng.uniform(0, 2 * np.pi), rng.uniform(60, 140) * unit, bend, 0.04, rng)
    mark = coverage(side, side, _ribbon(path, rng.uniform(3.5, 6) * unit, taper=False))
    colour = np.array([0.85, 0.8, 0.7], np.float32) * np.float32(rng.choice([0.25, 0.6, 1.0]))
    return surface._replace(
        albedo=mix(surface.albedo, colour, mark),
        relief_px=surface.relief_px + 5 * unit * blurred(mark, 1.5 * unit),
    )


def _spill(surface: Surface, tint: Colour, rng: np.random.Generator) -> Surface:
    """Blobs that multiply the colour by `tint`, soft outside."""
    unit, side = surface.unit, surface.albedo.shape[0]
    anchor, radius = _anchor(surface, rng), rng.uniform(10, 26) * unit
    drops = [_blob(anchor + rng.normal(0, 0.6, 2) * radius, radius * size, 0.06, rng) for size in (1, 0.7, 0.4)]
    wet = coverage(side, side, *drops)
    soft = blurred(wet, 1.2 * unit) * surface.inside
    rim = np.clip(wet - blurred(wet, 4 * unit), 0, 1) * surface.inside
    tinted = surface.albedo * (1 - (1 - tint) * (0.85 * soft + 0.5 * rim)[..., None])
    return surface._replace(albedo=tinted.astype(np.float32))


def _anchor(surface: Surface, rng: np.random.Generator) -> Points:
    """A point (column, row) where flaws may lie, well inside the picture."""
    margin = int(36 * surface.unit)
    rows, cols = np.nonzero(surface.inside[margin:-margin, margin:-margin])
    chosen = rng.integers(len(rows))
    return np.array([cols[chosen] + margin, rows[chosen] + margin], float)


def _path(middle: Points, heading: float, length: float, bend: float, jag: float, rng: np.random.Generator) -> Points:
    """A line through `middle`: its heading turns by `bend` radians on the way and jitters by `jag` a step."""
    steps = 40 if jag < 0.1 else 12  # a crack runs straight between few turns
    headings = heading + bend * np.linspace(-0.5, 0.5, steps) + rng.normal(0, jag, steps)
    points = np.cumsum(length / steps * np.stack([np.cos(headings), np.sin(headings)], axis=1), axis=0)
    return np.asarray(points - points[steps // 2] + middle)


def _ribbon(path: Points, breadth: float, *, taper: bool = True) -> Points:
    """A polygon of that breadth about a path, pointed at its ends if `taper`."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    half = breadth / 2 * np.ones(len(path))
    if taper:
        half *= np.sin(np.pi * np.linspace(0.04, 0.96, len(path))) ** 0.5
    side = half[:, None] * np.stack([-along[:, 1], along[:, 0]], axis=1)
    return np.concatenate([path + side, (path - side)[::-1]])


def _blob(centre: Points, radius: float, roughness: float, rng: np.random.Generator) -> Points:
    """A closed uneven curve about `centre`."""
    factor = np.ones(len(TURN))
    for harmonic in range(2, 8):
        factor += rng.normal(0, roughness / harmonic**0.5) * np.cos(harmonic * TURN + rng.uniform(0, 2 * np.pi))
    squash = np.array([1, rng.uniform(0.6, 1)])
    return np.asarray(radius * np.stack([factor * np.cos(TURN), factor * np.sin(TURN)], axis=1) * squash + centre)
