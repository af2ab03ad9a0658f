"""Light and camera: from relief and colour to a photograph."""

from typing import NamedTuple

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.embedded.drawing.fields import Colour, Field, Picture, smooth_noise


class Light(NamedTuple):
    """A lamp far away, and the light that comes from everywhere."""

    direction: tuple[float, float, float]  # unit vector to the lamp: columns, rows, towards the camera
    ambient: float  # share of the light that has no direction, in [0, 1]
    tint: Colour


def draw_light(rng: np.random.Generator, elevation_deg: tuple[float, float] = (35, 70)) -> Light:
    """A lamp from any side at a height between the two angles."""
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = np.deg2rad(rng.uniform(*elevation_deg))
    flat = float(np.cos(elevation))
    direction = (flat * float(np.cos(azimuth)), flat * float(np.sin(azimuth)), float(np.sin(elevation)))
    warmth = np.float32(rng.normal(0, 0.05))
    return Light(direction, rng.uniform(0.35, 0.65), np.array([1 + warmth, 1, 1 - warmth], np.float32))


def shade(albedo: Picture, relief_px: Field, light: Light, gloss: float) -> Picture:
    """`albedo` lit as a surface of that height; float32 (H, W, 3). A flat matt surface keeps its albedo.

    Args:
        albedo: float32 (H, W, 3), colour of the surface.
        relief_px: float32 (H, W), height towards the camera in pixels.
        light: where the light comes from.
        gloss: strength of the highlight, 0 matt.
    """
    slope_col = cv2.Sobel(relief_px, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    slope_row = cv2.Sobel(relief_px, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    to_col, to_row, to_camera = light.direction
    length = np.sqrt(1 + slope_col**2 + slope_row**2)
    facing = np.maximum((to_camera - slope_col * to_col - slope_row * to_row) / length, 0)
    # Blinn's highlight: the normal against the vector half way between lamp and camera.
    half = np.sqrt(2 + 2 * to_camera)
    mirror = np.maximum((to_camera + 1 - slope_col * to_col - slope_row * to_row) / (length * half), 0)
    diffuse = light.ambient + (1 - light.ambient) * facing / max(to_camera, 0.2)
    lit = albedo * light.tint * diffuse[..., None] + gloss * (mirror**40)[..., None]
    return np.asarray(lit, dtype=np.float32)


def swell(mask: Mask, bevel_px: float) -> Field:
    """Relief float32 (H, W) in [0, 1] of a thing with that outline: a round edge `bevel_px` wide, flat inside."""
    away = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rise = np.sin(np.pi / 2 * np.minimum(away / bevel_px, 1)).astype(np.float32)
    # The blur rounds the creases that a distance transform leaves along its ridges.
    return np.asarray(cv2.GaussianBlur(rise, (0, 0), max(0.7, bevel_px / 6)), dtype=np.float32)


def cast_shadow(picture: Picture, cover: Field, light: Light, lift_px: float, depth: float) -> Picture:
    """`picture` darkened by up to `depth` where a thing that covers `cover`, `lift_px` high, takes its light."""
    to_col, to_row, to_camera = light.direction
    reach = lift_px / max(to_camera, 0.3)
    move = np.array([[1, 0, -reach * to_col], [0, 1, -reach * to_row]], np.float32)
    height, width = cover.shape
    shadow = cv2.GaussianBlur(cv2.warpAffine(cover, move, (width, height)), (0, 0), max(0.8, lift_px / 2.5))
    return np.asarray(picture * (1 - depth * shadow)[..., None], dtype=np.float32)


def photograph(picture: Picture, rng: np.random.Generator, noise: float) -> Image:
    """Sensor noise and eight bits; uint8 (H, W, 3).

    The draws depend on the shape alone, so that two pictures of one shape and one generator state get the same noise.
    """
    height, width = picture.shape[:2]
    fine = rng.standard_normal(picture.shape, dtype=np.float32)
    # A sensor's pixels see one colour each: interpolation between them makes noise soft and partly grey.
    grain = 0.6 * fine + 0.6 * cv2.GaussianBlur(fine, (0, 0), 0.8).mean(axis=2, keepdims=True)
    uneven = 0.8 + 0.4 * smooth_noise(height, width, (height / 2, width / 2), rng)[..., None]
    noisy = picture + noise * uneven * grain * np.sqrt(np.clip(picture, 0.05, 1))
    return np.asarray(np.clip(np.rint(255 * noisy), 0, 255), dtype=np.uint8)
