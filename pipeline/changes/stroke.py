"""Strokes: scratches, cracks, stray or missing threads, fibres. Thin curves, some so faint that they barely show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.blending import Alpha, Look, blend, draw_look, seen_through
from pipeline.changes.numbers import log_uniform, rounded, uniform

FINE = 4  # strokes are drawn on a lattice this many times finer, so that a hair is a hair
STEPS = 12  # straight pieces of a curve


@dataclass(frozen=True)
class Curve:
    """One stroke; places and lengths are shares of the image's height and width, or of its shorter side."""

    points: tuple[tuple[float, float], ...]  # (row, col), STEPS + 1 of them
    width: float  # of the shorter side
    taper: float  # 0: as wide at the ends as in the middle; 1: pointed


@dataclass(frozen=True)
class Stroke:
    """Strokes of one look."""

    curves: tuple[Curve, ...]
    look: Look
    kind: Literal["stroke"] = "stroke"


def draw_stroke(rng: np.random.Generator) -> Stroke:
    """Draw one to four strokes; those beside the first are like it in direction, as scratches are."""
    heading, bend = uniform(rng, 0.0, 2 * math.pi), uniform(rng, 0.0, 0.5)
    length, width = log_uniform(rng, 0.06, 0.9), log_uniform(rng, 0.004, 0.03)
    count = int(rng.choice([1, 1, 1, 2, 3, 4]))
    curves = tuple(_draw_curve(rng, heading, bend, length, width) for _ in range(count))
    return Stroke(curves, draw_look(rng))


def apply_stroke(original: Image, donors: Sequence[Image], stroke: Stroke) -> tuple[Image, Mask]:
    """The changed image and its mask, made of the picture alone."""
    del donors
    height, width = original.shape[:2]
    alpha = np.zeros((height, width), np.float32)
    for curve in stroke.curves:
        alpha = np.maximum(alpha, _alpha(curve, height, width))
    return blend(original, seen_through(original, stroke.look), alpha, stroke.look.strength)


def _draw_curve(rng: np.random.Generator, heading: float, bend: float, length: float, width: float) -> Curve:
    row, col = uniform(rng, 0.05, 0.95), uniform(rng, 0.05, 0.95)
    heading += uniform(rng, -0.3, 0.3)
    piece = length * uniform(rng, 0.6, 1.2) / STEPS
    turn, points = 0.0, [(row, col)]
    for _ in range(STEPS):
        turn = 0.7 * turn + bend * uniform(rng, -1.0, 1.0)
        heading += turn
        row, col = row + piece * math.sin(heading), col + piece * math.cos(heading)
        points.append((rounded(row), rounded(col)))
    return Curve(tuple(points), width, uniform(rng, 0.0, 1.0))


def _alpha(curve: Curve, height: int, width: int) -> Alpha:
    """How much of each pixel the stroke covers, 0 to 1."""
    scale = np.array([height, width]) * FINE
    places = np.rint(np.array(curve.points) * scale).astype(int)
    fine = np.zeros((height * FINE, width * FINE), np.uint8)
    thick = curve.width * min(height, width) * FINE
    for number, (start, stop) in enumerate(pairwise(places)):
        from_middle = abs(2 * (number + 0.5) / STEPS - 1)
        own = max(1, round(thick * (1 - curve.taper * from_middle)))
        cv2.line(fine, (int(start[1]), int(start[0])), (int(stop[1]), int(stop[0])), (255,), own)
    covered = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    return covered.astype(np.float32) / 255
