"""Category `board`: a circuit board of one design, almost aligned."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from pipeline.embedded.drawing.fields import Field, Picture, fractal_noise, mix
from pipeline.embedded.drawing.light import swell
from pipeline.embedded.drawing.outlines import Points, ellipse, superellipse
from pipeline.embedded.parts_defects import scratch, stain
from pipeline.embedded.parts_surface import Category, Surface, blurred, coverage

_MASK = np.array([0.1, 0.36, 0.2], np.float32)
_COPPER = np.array([0.16, 0.47, 0.27], np.float32)
_TIN = np.array([0.75, 0.75, 0.72], np.float32)
_INK = np.array([0.85, 0.87, 0.82], np.float32)
_BODIES = {
    "chip": np.array([0.11, 0.11, 0.12], np.float32),
    "resistor": np.array([0.2, 0.17, 0.16], np.float32),
    "capacitor": np.array([0.66, 0.5, 0.33], np.float32),
    "can": np.array([0.6, 0.62, 0.66], np.float32),
    "led": np.array([0.88, 0.82, 0.6], np.float32),
    "coil": np.array([0.33, 0.33, 0.38], np.float32),
}

Window = tuple[slice, slice]  # rows, columns


class Component(NamedTuple):
    """A component on its footprint; lengths in 1/256 of the side, from the board's centre."""

    kind: str  # of the footprint
    centre: tuple[float, float]  # column, row
    half: tuple[float, float]
    angle_rad: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)  # of the body from its footprint
    turned_rad: float = 0.0  # of the body from its footprint
    body: str = ""  # kind of the mounted body where it is not the footprint's
    present: bool = True

    @property
    def mounted(self) -> str:
        """Kind of the body."""
        return self.body or self.kind


_DESIGN = (
    Component("chip", (-45, -40), (30, 26)),
    Component("chip", (55, 48), (22, 30)),
    Component("can", (58, -62), (17, 17)),
    Component("coil", (-72, 58), (20, 20)),
    *(Component("resistor", (col, 18), (9, 5)) for col in (-95, -68, -41, -14)),
    *(Component("capacitor", (-12, row), (7, 5), np.pi / 2) for row in (46, 70, 94)),
    *(Component("led", (col, -98), (6, 5)) for col in (-90, -66, -42)),
    *(Component("resistor", (99, row), (9, 5), np.pi / 2) for row in (-20, 10)),
    Component("capacitor", (18, -20), (8, 6)),
    Component("capacitor", (-34, 95), (8, 6)),
)


@dataclass(frozen=True)
class Board:
    """One board under the camera."""

    side_px: int
    angle_rad: float
    shift: Points  # columns, rows in 1/256 of the side
    components: tuple[Component, ...]
    shades: Field  # float32 (components,), brightness of each
    grain: Field  # float32 (side, side) in [0, 1]


def _lay_board(side_px: int, rng: np.random.Generator) -> Board:
    placed = tuple(
        item._replace(offset=tuple(rng.normal(0, 0.5, 2).tolist()), turned_rad=rng.normal(0, 0.02)) for item in _DESIGN
    )
    return Board(
        side_px,
        angle_rad=rng.normal(0, 0.02),
        shift=rng.normal(0, 2, 2),
        components=placed,
        shades=rng.normal(1, 0.08, len(placed)).astype(np.float32),
        grain=fractal_noise(side_px, side_px, side_px / 12, rng, persistence=0.75),
    )


def _build_board(board: Board) -> Surface:
    side = board.side_px
    albedo, relief = _bare(board)
    for item, shade in zip(board.components, board.shades, strict=True):
        window = _around(board, item)
        albedo[window], relief[window] = _mounted(board, item, shade, albedo[window], relief[window], window)
    everywhere = np.ones((side, side), bool)
    return Surface(albedo.astype(np.float32), relief.astype(np.float32), everywhere, 0.15)


def _bare(board: Board) -> tuple[Picture, Field]:
    """The board without components: solder mask over copper, holes, print."""
    side, unit = board.side_px, board.side_px / 256
    copper = np.zeros((side, side), np.float32)
    for first, second in pairwise(_DESIGN):
        # Tracks run along the axes.
        bend = (second.centre[0], first.centre[1])
        line = _on_board(board, np.array([first.centre, bend, second.centre], float))
        fixed = np.rint(16 * line).astype(np.int32)  # 4 bits of fraction
        cv2.polylines(copper, [fixed], isClosed=False, color=(1.0,), thickness=max(1, round(2.5 * unit)), shift=4)
    albedo = mix(_MASK, _COPPER, blurred(copper, 0.5 * unit)) * (0.85 + 0.3 * board.grain)[..., None]
    corners = [(col, row) for col in (-112, 112) for row in (-112, 112)]
    rings = coverage(side, side, *(_on_board(board, ellipse(9, 9, at)) for at in corners))
    holes = coverage(side, side, *(_on_board(board, ellipse(5, 5, at)) for at in corners))
    albedo = mix(mix(albedo, _TIN, rings), np.float32(0.15) * _TIN, holes)
    return albedo, (unit * (copper + 0.5 * board.grain - 3 * holes)).astype(np.float32)


def _around(board: Board, item: Component) -> Window:
    """Rows and columns that hold a component, its legs and its shadow."""
    reach = np.hypot(*item.half) + 24
    col, row = _on_board(board, np.array([item.centre]))[0]
    half = reach * board.side_px / 256
    return slice(max(0, int(row - half)), int(row + half)), slice(max(0, int(col - half)), int(col + half))


def _mounted(
    board: Board, item: Component, shade: np.float32, albedo: Picture, relief: Field, window: Window
) -> tuple[Picture, Field]:
    """Colour and height of a window of the board with one component soldered on."""
    unit, grain = board.side_px / 256, board.grain[window]
    origin, (height, width) = np.array([window[1].start, window[0].start]), relief.shape

    def covered(points: list[Points]) -> Field:
        return coverage(height, width, *(_on_board(board, each) - origin for each in points))

    pads = covered(_pads(item))
    albedo = mix(albedo, _TIN * (0.8 + 0.3 * grain)[..., None], pads)
    relief = (relief + 1.2 * unit * pads).astype(np.float32)
    if not item.present:
        return albedo, relief
    body = covered([_moved(item, _body(item), own=True)])
    marks = covered([_moved(item, mark, own=True) for mark in _marks(item)])
    dusk = blurred(body, 2 * unit) * (1 - body)
    albedo = albedo * (1 - 0.5 * dusk)[..., None]
    albedo = mix(albedo, _BODIES[item.mounted] * shade * (0.85 + 0.3 * grain)[..., None], body)
    albedo = mix(albedo, _INK * np.float32(0.8), marks)
    return albedo, (relief * (1 - body) + 3 * unit * swell(body > 0.5, 3 * unit) * body).astype(np.float32)


def _body(item: Component) -> Points:
    if item.mounted == "can":
        return ellipse(*item.half)
    return superellipse(*item.half, 3.5 if item.mounted == "coil" else 16)


def _marks(item: Component) -> list[Points]:
    """What is printed on the body: it shows which way round the component sits."""
    wide, tall = item.half
    match item.mounted:
        case "chip":
            lines = [superellipse(wide * 0.5, 1.2, 30, (0, row)) for row in (-4.0, 3.0)]
            return [ellipse(2.2, 2.2, (5 - wide, 5 - tall)), *lines]
        case "can":
            return [superellipse(2.5, tall * 0.7, 30, (wide * 0.55, 0))]
        case "coil":
            return [superellipse(7, 1.5, 30, (0, row)) for row in (-4.0, 4.0)]
        case "resistor":
            return [superellipse(2.8, 1, 30)]
        case "led":
            return [ellipse(2.5, 2.5)]
        case _:
            return [superellipse(0.5, 0.5, 2)]


def _pads(item: Component) -> list[Points]:
    """The footprint: legs on two sides of a chip, two pads for the rest."""
    wide, tall = item.half
    if item.kind == "chip":
        columns = np.arange(5 - wide, wide - 4, 7.5)
        pads = [superellipse(2.2, 4, 20, (float(col), row)) for col in columns for row in (-tall - 2, tall + 2)]
    else:
        pads = [superellipse(3.2, min(tall, 8) * 0.95, 12, (col, 0)) for col in (-wide - 1, wide + 1)]
    return [_moved(item, pad, own=False) for pad in pads]


def _moved(item: Component, points: Points, *, own: bool) -> Points:
    """From the component's frame to the board's; `own` adds the body's misplacement on its footprint."""
    shift = np.array(item.centre) + (np.array(item.offset) if own else 0)
    return _turned(points, item.angle_rad + (item.turned_rad if own else 0)) + shift


def _on_board(board: Board, points: Points) -> Points:
    """From the board's frame to pixels (column, row)."""
    return np.asarray(board.side_px * (0.5 + (_turned(points, board.angle_rad) + board.shift) / 256))


def _turned(points: Points, angle_rad: float) -> Points:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def _missing(board: Board, rng: np.random.Generator) -> Board:
    """A component was never mounted: its footprint shows."""
    return _with_changed(board, rng, lambda item: item._replace(present=False))


def _misplaced(board: Board, rng: np.random.Generator) -> Board:
    """A component sits askew."""
    turn = rng.choice([-1, 1]) * rng.uniform(0.35, 1.0)
    shift = rng.normal(0, 4, 2).tolist()
    return _with_changed(board, rng, lambda item: item._replace(turned_rad=turn, offset=(shift[0], shift[1])))


def _swapped(board: Board, rng: np.random.Generator) -> Board:
    """A component of another kind sits on the footprint."""
    others = list(_BODIES)
    step = int(rng.integers(1, len(others)))

    def replaced(item: Component) -> Component:
        return item._replace(body=others[(others.index(item.kind) + step) % len(others)])

    return _with_changed(board, rng, replaced)


def _with_changed(board: Board, rng: np.random.Generator, change: Callable[[Component], Component]) -> Board:
    """`board` with one component changed."""
    chosen = int(rng.integers(len(board.components)))
    return replace(
        board,
        components=tuple(change(item) if at == chosen else item for at, item in enumerate(board.components)),
    )


BOARD = Category(
    _lay_board,
    _build_board,
    {"missing": _missing, "misplaced": _misplaced, "swapped": _swapped},
    {"scratch": scratch, "stain": stain},
)
