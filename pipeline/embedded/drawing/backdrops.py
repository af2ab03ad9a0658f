"""What lies behind the things of a scene, already lit."""

from math import ceil

import cv2
import numpy as np

from pipeline.embedded.drawing.fields import (
    Field,
    Picture,
    draw_palette,
    fractal_noise,
    mix,
    normalise,
    smooth_noise,
    smoothstep,
)
from pipeline.embedded.drawing.light import Light, shade
from pipeline.embedded.drawing.materials import MATERIALS, mottled, speckle, strokes
from pipeline.embedded.drawing.outlines import cover, place
from pipeline.embedded.drawing.things import THINGS


def draw_backdrop(height: int, width: int, light: Light, rng: np.random.Generator) -> Picture:
    """A surface seen from above, a room, a landscape, or clutter out of focus; float32 (H, W, 3)."""
    kinds = (_surface, _surface, _room, _landscape, _out_of_focus)
    picture = kinds[rng.integers(len(kinds))](height, width, light, rng)
    # Lamps and windows light a scene unevenly.
    glow = smooth_noise(height, width, (0.7 * height, 0.7 * width), rng)
    return np.asarray(picture * (1 + rng.uniform(0.1, 0.6) * (glow - 0.5))[..., None], dtype=np.float32)


def _surface(height: int, width: int, light: Light, rng: np.random.Generator) -> Picture:
    """One material from above."""
    albedo = MATERIALS[rng.integers(len(MATERIALS))](height, width, min(height, width) * rng.uniform(0.04, 0.25), rng)
    bumps = np.exp(rng.uniform(-1, 2)) * fractal_noise(height, width, rng.uniform(8, 60), rng)
    relief = bumps + rng.choice([0, 1, 3]) * albedo.mean(axis=2)
    return shade(albedo, relief.astype(np.float32), light, gloss=rng.choice([0, 0.15]))


def _room(height: int, width: int, light: Light, rng: np.random.Generator) -> Picture:
    """A wall above a floor or table that runs away from the camera."""
    horizon = int(height * rng.uniform(0.25, 0.7))
    wall = _surface(height, width, light, rng) * np.float32(rng.uniform(0.6, 1))
    floor = _receding(_surface(height, width, light, rng), height - horizon, rng)
    picture = wall.copy()
    picture[horizon:] = floor
    skirting = int(rng.choice([0, 2, 6]))
    picture[max(0, horizon - skirting) : horizon] = draw_palette(1, rng)[0]
    # The wall keeps light from the floor next to it.
    dusk = np.exp(-np.arange(height - horizon, dtype=np.float32) / np.float32(0.06 * height))
    picture[horizon:] *= (1 - 0.4 * dusk)[:, None, None]
    return picture


def _landscape(height: int, width: int, light: Light, rng: np.random.Generator) -> Picture:
    """Sky, a line of hills, and ground."""
    horizon = int(height * rng.uniform(0.2, 0.6))
    zenith, haze, cloud, hill = draw_palette(4, rng)
    if rng.random() < 0.6:
        zenith, haze = np.array([0.3, 0.5, 0.85], np.float32), np.array([0.75, 0.85, 0.95], np.float32)
        cloud, hill = np.array([0.97, 0.97, 0.98], np.float32), np.array([0.25, 0.35, 0.3], np.float32)
    rows = np.linspace(0, height / horizon, height, dtype=np.float32)[:, None] * np.ones(width, np.float32)
    clouds = fractal_noise(height, width, height / 3, rng, stretch=2)
    picture = mix(mix(zenith, haze, np.clip(rows, 0, 1)), cloud, smoothstep(clouds, rng.uniform(0.4, 0.7), 0.9))
    ridge = horizon - 0.3 * horizon * fractal_noise(1, width, width / 3, rng)[0]
    picture = mix(picture, hill, (np.arange(height)[:, None] > ridge).astype(np.float32))
    ground = (strokes, mottled, speckle)[rng.integers(3)](height, width, rng.uniform(8, 30), rng)
    ground = ground * (0.7 + 0.6 * fractal_noise(height, width, height / 4, rng))[..., None]
    picture[horizon:] = _receding(shade(ground, 4 * ground.mean(axis=2), light, 0), height - horizon, rng)
    return picture


def _out_of_focus(height: int, width: int, light: Light, rng: np.random.Generator) -> Picture:
    """A surface and things on it, far behind the plane of focus."""
    picture = _surface(height, width, light, rng)
    names = list(THINGS)
    for _ in range(int(rng.integers(5, 25))):
        outline = THINGS[names[rng.integers(len(names))]](rng)
        at = rng.uniform(0, width), rng.uniform(0, height)
        seen = cover(place(outline, at, height * rng.uniform(0.05, 0.3), rng.uniform(0, 2 * np.pi)), height, width)
        (colour,) = draw_palette(1, rng)
        if seen is not None:
            picture[seen.window] = mix(picture[seen.window], colour, seen.whole)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(2, 9)), dtype=np.float32)


def _receding(surface: Picture, rows: int, rng: np.random.Generator) -> Picture:
    """`surface` laid flat: the last row is near the camera, the first far away; float32 (rows, W, 3)."""
    height, width = surface.shape[:2]
    pinch = width * rng.uniform(0.15, 0.4)
    near = rng.uniform(1.0, 1.8) * width
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    middle = width / 2
    laid = np.array(
        [[-pinch, 0], [width + pinch, 0], [middle + near, rows], [middle - near, rows]],
        np.float32,
    )
    view = cv2.getPerspectiveTransform(corners, laid)
    size = (width, max(1, ceil(rows)))
    flat = cv2.warpPerspective(surface, view, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(flat, dtype=np.float32)


def haze(picture: Picture, rng: np.random.Generator) -> Picture:
    """The lens: darker corners, a cast of colour, contrast, and a focus that is never perfect."""
    height, width = picture.shape[:2]
    rows, cols = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    corners: Field = 1 - rng.uniform(0, 0.3) * normalise(rows**2 + cols**2)
    cast = (1 + rng.normal(0, 0.03, 3)).astype(np.float32)
    toned = np.clip(picture * corners[..., None] * cast, 0, 1.2) ** np.float32(rng.uniform(0.8, 1.2))
    return np.asarray(cv2.GaussianBlur(toned, (0, 0), rng.uniform(0.3, 0.8)), dtype=np.float32)
