"""A placed thing painted into a picture: material, relief, light, shadow."""

import cv2
import numpy as np

from pipeline.embedded.drawing.fields import Field, Picture, mix, smooth_noise, smoothstep, turned_coordinates
from pipeline.embedded.drawing.light import Light, cast_shadow, shade, swell
from pipeline.embedded.drawing.materials import MATERIALS
from pipeline.embedded.drawing.outlines import Cover


def paint(picture: Picture, cover: Cover, size_px: float, light: Light, rng: np.random.Generator) -> Picture:
    """`picture` with a thing of `size_px` painted where `cover` says, and its shadow beside it."""
    height, width = picture.shape[:2]
    whole = np.zeros((height, width), np.float32)
    whole[cover.window] = cover.whole
    shadow = rng.uniform(0.15, 0.65), max(1.0, size_px * rng.uniform(0.02, 0.2))
    shadowed = cast_shadow(picture, whole, light, lift_px=shadow[1], depth=shadow[0])
    lit = _lit_thing(cover, size_px, light, rng)
    shadowed[cover.window] = mix(shadowed[cover.window], lit, cover.whole)
    return shadowed


def _lit_thing(cover: Cover, size_px: float, light: Light, rng: np.random.Generator) -> Picture:
    """The thing's own pixels, float32 (h, w, 3), in the crop of `cover`."""
    albedo = _albedo(cover, size_px, rng)
    bevel_px = max(1.5, size_px * rng.choice([0.08, 0.2, 0.5, 1.0]))
    relief = bevel_px * rng.uniform(0.3, 1.0) * swell(cover.whole > 0.5, bevel_px)
    # A pattern is often felt as well as seen: threads, joints, grain.
    relief += rng.choice([0, 0, 0.5, 1.5]) * albedo.mean(axis=2)
    relief += _dents(relief.shape, size_px, rng)
    lit = shade(albedo, relief.astype(np.float32), light, gloss=rng.choice([0, 0, 0.25, 0.7]))
    # Less sky reaches the rim of a thing than its middle.
    rim = cv2.GaussianBlur(cover.whole, (0, 0), max(1.0, size_px / 12))
    return np.asarray(lit * (0.6 + 0.4 * rim)[..., None], dtype=np.float32)


def _albedo(cover: Cover, size_px: float, rng: np.random.Generator) -> Picture:
    """Colour of a thing: a material, perhaps others on its later parts, perhaps a band around it."""
    height, width = cover.whole.shape
    albedo = _material(height, width, size_px, rng)
    own_parts = rng.random() < 0.6
    for solid in cover.solids[1:]:
        part = _material(height, width, size_px, rng) if own_parts else albedo * np.float32(rng.uniform(0.7, 1.25))
        albedo = mix(albedo, part, solid)
    if rng.random() < 0.3:
        along, _ = turned_coordinates(height, width, rng.uniform(0, np.pi))
        breadth, middle = size_px * rng.uniform(0.08, 0.5), size_px * rng.uniform(-0.5, 0.5)
        inside = 1 - smoothstep(np.abs(along - np.float32(middle)), breadth - 0.7, breadth + 0.7)
        albedo = mix(albedo, _material(height, width, size_px, rng), inside)
    return albedo


def _material(height: int, width: int, size_px: float, rng: np.random.Generator) -> Picture:
    material = MATERIALS[rng.integers(len(MATERIALS))]
    return material(height, width, max(3.0, size_px * rng.uniform(0.12, 0.5)), rng)


def _dents(shape: tuple[int, ...], size_px: float, rng: np.random.Generator) -> Field:
    """Low waves of the surface, in pixels of height."""
    cell = max(3.0, size_px * rng.uniform(0.1, 0.6))
    waves = smooth_noise(shape[0], shape[1], (cell, cell), rng)
    return np.asarray(rng.choice([0, 0.05, 0.15, 0.4]) * cell * waves, dtype=np.float32)
