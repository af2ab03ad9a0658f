"""Category `nut`: a steel hexagon nut, turned any way, on a dark mat."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.embedded.drawing.fields import Field, Picture, fractal_noise, mix
from pipeline.embedded.drawing.light import swell
from pipeline.embedded.drawing.outlines import TURN, Points, ellipse
from pipeline.embedded.parts_defects import crack, rust, scratch
from pipeline.embedded.parts_surface import Category, Surface, blurred, coverage

_STEEL = np.array([0.66, 0.67, 0.7], np.float32)
_MAT = np.array([0.2, 0.24, 0.27], np.float32)


@dataclass(frozen=True)
class Nut:
    """A nut and what it lies on."""

    side_px: int
    angle_rad: float
    centre: Points  # column, row
    radius_px: float
    rim: Points  # outline in units of the radius, before it is turned
    brushing: Field  # float32 (side, side) in [0, 1]
    mat: Field  # float32 (side, side) in [0, 1]


def _lay_nut(side_px: int, rng: np.random.Generator) -> Nut:
    angle = rng.uniform(0, 2 * np.pi)
    lines = fractal_noise(side_px, side_px, side_px / 40, rng, stretch=14)
    turn = cv2.getRotationMatrix2D((side_px / 2, side_px / 2), -np.rad2deg(angle), 1)
    turned = cv2.warpAffine(lines, turn, (side_px, side_px), borderMode=cv2.BORDER_REFLECT)
    return Nut(
        side_px,
        angle,
        centre=side_px * (0.5 + rng.uniform(-0.05, 0.05, 2)),
        radius_px=side_px * rng.uniform(0.34, 0.37),
        rim=_hexagon(),
        brushing=np.asarray(turned, dtype=np.float32),
        mat=fractal_noise(side_px, side_px, side_px / 50, rng, persistence=0.9),
    )


def _build_nut(nut: Nut) -> Surface:
    side, unit = nut.side_px, nut.side_px / 256
    body = coverage(side, side, _placed(nut, nut.rim))
    bore = coverage(side, side, _placed(nut, ellipse(0.5, 0.5)))
    steel = body * (1 - bore)
    albedo = mix(_MAT * (0.6 + 0.8 * nut.mat)[..., None], _STEEL * (0.75 + 0.4 * nut.brushing)[..., None], body)
    albedo = mix(albedo, _thread(nut), bore)
    # The nut stands on the mat: little light gets under its edge and into its bore.
    shadow = blurred(body, 4 * unit) * (1 - body)
    albedo = albedo * (1 - 0.55 * shadow)[..., None]
    bevel = 9 * unit
    relief = bevel * 0.5 * swell(steel > 0.5, bevel) + 0.6 * unit * nut.mat * (1 - body)
    return Surface(albedo.astype(np.float32), relief.astype(np.float32), steel > 0.5, 0.25)


def _thread(nut: Nut) -> Picture:
    """The bore seen from above: rings of thread about a dark middle; float32 (side, side, 3)."""
    rows, cols = np.mgrid[: nut.side_px, : nut.side_px].astype(np.float32)
    away = np.hypot(cols - nut.centre[0], rows - nut.centre[1]) / nut.radius_px
    turn = np.arctan2(rows - nut.centre[1], cols - nut.centre[0]) - nut.angle_rad
    rings = 0.5 + 0.5 * np.cos(2 * np.pi * away / 0.035 + turn)
    share = np.clip((away - 0.38) / 0.03, 0, 1) * (0.3 + 0.5 * rings)
    return mix(_MAT * (0.3 + 0.3 * nut.mat)[..., None], _STEEL, share.astype(np.float32))


def _broken_corner(nut: Nut, rng: np.random.Generator) -> Nut:
    """A corner is gone along a jagged line."""
    keep = rng.uniform(0.72, 0.82)
    toward = rng.integers(6) * np.pi / 3 + rng.uniform(-0.12, 0.12)
    axis = np.array([np.cos(toward), np.sin(toward)])
    beyond = np.maximum(nut.rim @ axis - keep, 0)
    teeth = np.convolve(rng.normal(0, 0.05, len(beyond)), np.ones(9) / 9, mode="same")
    jags = np.where(beyond > 0, teeth, 0)
    return replace(nut, rim=nut.rim - (beyond + jags)[:, None] * axis)


def _bent(nut: Nut, rng: np.random.Generator) -> Nut:
    """One side is squeezed in."""
    toward = rng.integers(6) * np.pi / 3 + np.pi / 6 + rng.uniform(-0.2, 0.2)
    angle = np.arctan2(nut.rim[:, 1], nut.rim[:, 0])
    near = np.exp(-((np.angle(np.exp(1j * (angle - toward))) / rng.uniform(0.25, 0.4)) ** 2))
    return replace(nut, rim=nut.rim * (1 - rng.uniform(0.13, 0.2) * near)[:, None])


def _hexagon() -> Points:
    """A hexagon with slightly rounded corners, its corners at multiples of 60 degrees; float64 (384, 2)."""
    turn = np.linspace(0, 2 * np.pi, 4 * len(TURN), endpoint=False)
    reach = np.cos(np.pi / 6) / np.cos(turn % (np.pi / 3) - np.pi / 6)
    reach = np.minimum(reach, 0.97)
    return np.stack([reach * np.cos(turn), reach * np.sin(turn)], axis=1)


def _placed(nut: Nut, points: Points) -> Points:
    cos, sin = np.cos(nut.angle_rad), np.sin(nut.angle_rad)
    return np.asarray(nut.radius_px * points @ np.array([[cos, sin], [-sin, cos]]) + nut.centre)


NUT = Category(
    _lay_nut,
    _build_nut,
    {"broken": _broken_corner, "bent": _bent},
    {"rust": rust, "scratch": scratch, "crack": crack},
)
