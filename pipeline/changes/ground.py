"""Grounds: pictures made of surfaces instead of a photograph, with a piece lying on them or without.

They are what photographs of COCO lack and inspected goods have: a picture whose every place is as normal as another, of
which there are any number of different ones that show the same.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from configs.synth import Ground as GroundConfig
from pipeline.arrays import Image
from pipeline.changes.numbers import Floats, log_uniform, uniform
from pipeline.changes.surface import Surface, draw_cut, draw_material, show

Outline = Literal["ellipse", "rounded", "rectangle"]
HALVINGS: dict[Outline, int] = {"ellipse": 1, "rounded": 2, "rectangle": 3}  # of its power: 2, 4 or 8


@dataclass(frozen=True)
class Piece:
    """Something that lies on the ground; lengths are shares of the picture's shorter side."""

    outline: Outline
    row: float  # of its middle, a share of the height
    col: float
    down: float  # half its height
    across: float
    angle_deg: float
    rim: float  # how much darker its edge is, 0..1
    surface: Surface


@dataclass(frozen=True)
class Ground:
    """What a picture shows instead of a photograph."""

    base: Surface
    piece: Piece | None
    place: int  # of the surfaces


@dataclass(frozen=True)
class Pose:
    """Where a piece lies in another picture of the same."""

    down: float  # shares of the shorter side
    across: float
    angle_deg: float
    scale: float


HERE = Pose(0.0, 0.0, 0.0, 1.0)


def draw_ground(rng: np.random.Generator, photograph: Image, config: GroundConfig) -> Ground:
    """Draw a ground, some of it cut out of `photograph`, uint8 (H, W, 3)."""
    base = _draw_surface(rng, photograph, config.drawn_share)
    piece = _draw_piece(rng, photograph, config) if rng.random() < config.piece_share else None
    return Ground(base, piece, int(rng.integers(2**31)))


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw how another specimen lies."""
    return Pose(
        down=uniform(rng, -0.06, 0.06),
        across=uniform(rng, -0.06, 0.06),
        angle_deg=uniform(rng, -20.0, 20.0),
        scale=log_uniform(rng, 0.93, 1.07),
    )


def show_ground(
    ground: Ground, photograph: Image, height_width: tuple[int, int], place: int, pose: Pose = HERE
) -> Image:
    """The picture of a ground, uint8 (H, W, 3).

    Args:
        ground: what to show.
        photograph: that it was drawn for.
        height_width: of the picture.
        place: of its surfaces; another one gives another picture of the same.
        pose: of its piece.
    """
    picture = show(ground.base, photograph, height_width, place)
    if ground.piece is None:
        return picture
    distance = _distance(ground.piece, pose, height_width)
    edge_px = min(ground.piece.down, ground.piece.across) * pose.scale * min(height_width)
    inside = np.clip((1 - distance) * edge_px + 0.5, 0, 1)[..., None]
    near = np.square(np.minimum(distance, 1))
    shade = 1 - ground.piece.rim * np.square(near)  # numpy's power is another on another processor
    piece = show(ground.piece.surface, photograph, height_width, place + 1) * shade[..., None]
    return np.asarray(np.rint(picture + inside * (piece - picture)), np.uint8)


def _draw_surface(rng: np.random.Generator, photograph: Image, drawn_share: float) -> Surface:
    return draw_material(rng) if rng.random() < drawn_share else draw_cut(rng, photograph)


def _draw_piece(rng: np.random.Generator, photograph: Image, config: GroundConfig) -> Piece:
    return Piece(
        outline=get_args(Outline)[int(rng.integers(len(get_args(Outline))))],
        row=uniform(rng, 0.42, 0.58),
        col=uniform(rng, 0.42, 0.58),
        down=log_uniform(rng, 0.18, 0.48),
        across=log_uniform(rng, 0.18, 0.48),
        angle_deg=uniform(rng, 0.0, 180.0),
        rim=uniform(rng, 0.0, 0.7),
        surface=_draw_surface(rng, photograph, config.drawn_share),
    )


def _distance(piece: Piece, pose: Pose, height_width: tuple[int, int]) -> Floats:
    """How far each pixel is from the piece's middle, 1 at its edge; float32 (H, W)."""
    height, width = height_width
    side = min(height, width)
    angle = math.radians(piece.angle_deg + pose.angle_deg)
    cos, sin = math.cos(angle), math.sin(angle)
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5 - piece.row * height - pose.down * side
    cols = np.arange(width, dtype=np.float32)[None] + 0.5 - piece.col * width - pose.across * side
    down = (rows * cos - cols * sin) / (piece.down * pose.scale * side)
    across = (rows * sin + cols * cos) / (piece.across * pose.scale * side)
    # Squares and roots alone are the same on every processor.
    halvings = HALVINGS[piece.outline]
    for _ in range(halvings):
        down, across = down * down, across * across
    total = down + across
    for _ in range(halvings):
        total = np.sqrt(total)
    return np.asarray(total, np.float32)
