"""What differs between two normal pictures of one thing: light, focus, noise, compression, shape; and which specimen.

A pair with a variation has a picture of its own for its prompt. What differs there must stay dark.
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from configs.synth import Variation as VariationConfig
from pipeline.arrays import Image
from pipeline.changes.ground import HERE, Ground, Pose, draw_pose
from pipeline.changes.numbers import Floats, log_uniform, rounded, uniform
from pipeline.changes.perlin import LATTICE, perlin_field

HERE_AGAIN = 0.15  # chance that another picture of a ground shows the same place of it
EACH = 0.5  # chance of each effect
ELASTIC_CELLS = 3


@dataclass(frozen=True)
class Elastic:
    """A smooth bending of the picture."""

    amplitude: float  # largest displacement, a share of the shorter side
    row0: int  # place of its noise in the lattice
    col0: int


@dataclass(frozen=True)
class Variation:
    """How the two pictures differ, and which of them is varied."""

    varied: Literal["prompt", "query"]
    place: int | None  # of a ground's surfaces, in the prompt; None: the same
    pose: Pose  # of a ground's piece, in the prompt
    gains: tuple[float, float, float]  # RGB
    ramp: tuple[float, float]  # of light across the picture: strength, direction in degrees
    blur_px: float
    noise_levels: float
    noise_seed: int
    jpeg_quality: int | None
    elastic: Elastic | None


def draw_variation(rng: np.random.Generator, config: VariationConfig, ground: Ground | None) -> Variation | None:
    """Draw a variation; None where no effect is drawn, so that the prompt is the original.

    Args:
        rng: draws everything.
        config: strengths.
        ground: that the pair shows, of which there are other pictures than the same one varied; None: a photograph.
    """
    elsewhere = ground is not None and rng.random() >= HERE_AGAIN
    place = int(rng.integers(2**31))
    pose = draw_pose(rng)
    gain = log_uniform(rng, 1 - config.light, 1 / (1 - config.light))
    tint = [log_uniform(rng, 1 - config.light / 3, 1 / (1 - config.light / 3)) for _ in range(3)]
    lit, ramped, blurred, noisy, compressed, bent = (bool(chance < EACH) for chance in rng.random(6))
    red, green, blue = (rounded(gain * own) if lit else 1.0 for own in tint)
    ramp = uniform(rng, 0.0, config.ramp), uniform(rng, 0.0, 360.0)
    blur, noise = uniform(rng, 0.0, config.blur_px), uniform(rng, 0.0, config.noise_levels)
    noise_seed, quality = int(rng.integers(2**31)), int(rng.integers(config.jpeg_quality, 96))
    amplitude = uniform(rng, 0.0, config.elastic)
    elastic = Elastic(amplitude, int(rng.integers(LATTICE)), int(rng.integers(LATTICE)))
    varied = Variation(
        varied="prompt" if rng.random() < 0.5 else "query",
        place=place if elsewhere else None,
        pose=pose if ground is not None and ground.piece is not None else HERE,
        gains=(red, green, blue),
        ramp=ramp if ramped else (0.0, 0.0),
        blur_px=blur if blurred else 0.0,
        noise_levels=noise if noisy else 0.0,
        noise_seed=noise_seed,
        jpeg_quality=quality if compressed else None,
        elastic=elastic if bent else None,
    )
    other_picture = varied.place is not None or varied.pose != HERE
    return varied if other_picture or any((lit, ramped, blurred, noisy, compressed, bent)) else None


def vary(image: Image, variation: Variation) -> Image:
    """The picture with everything of the variation but place and pose; uint8 (H, W, 3)."""
    height, width = image.shape[:2]
    if variation.elastic is not None:
        image = _bend(image, variation.elastic)
    if variation.blur_px:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), variation.blur_px), np.uint8)
    light = np.array(variation.gains, np.float32) * _ramp(variation, height, width)[..., None]
    lit = image * light
    if variation.noise_levels:
        rng = np.random.default_rng([variation.noise_seed, 0])
        lit = lit + variation.noise_levels * rng.standard_normal(image.shape, np.float32)
    varied = np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)
    if variation.jpeg_quality is None:
        return varied
    stored = cv2.imencode(".jpg", varied, [cv2.IMWRITE_JPEG_QUALITY, variation.jpeg_quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)  # channels stay where they are both ways


def _ramp(variation: Variation, height: int, width: int) -> Floats:
    strength, direction = variation.ramp
    angle = math.radians(direction)
    down = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - 0.5
    across = (np.arange(width, dtype=np.float32)[None] + 0.5) / width - 0.5
    return np.asarray(1 + strength * (math.sin(angle) * down + math.cos(angle) * across), np.float32)


def _bend(image: Image, elastic: Elastic) -> Image:
    height, width = image.shape[:2]
    far = elastic.amplitude * min(height, width)
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float32)
    cells, other = (ELASTIC_CELLS, ELASTIC_CELLS), elastic.col0 + LATTICE // 2
    down = perlin_field((height, width), cells, (elastic.row0, elastic.col0))
    across = perlin_field((height, width), cells, (elastic.row0, other))
    to_rows, to_cols = rows + far * down, cols + far * across
    moved = cv2.remap(image, to_cols, to_rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)
