"""Two categories without a pose: `weave`, a coarse cloth, and `terrazzo`, a tile of stone chips."""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.embedded.drawing.fields import Field, fractal_noise, mix, turned_coordinates
from pipeline.embedded.drawing.light import swell
from pipeline.embedded.drawing.outlines import Outline, Points, cover, polar
from pipeline.embedded.parts_defects import chip, crack, hole, loose_thread, scratch, stain
from pipeline.embedded.parts_surface import Category, Surface

_WARP = np.array([0.72, 0.64, 0.5], np.float32)
_WEFT = np.array([0.35, 0.38, 0.45], np.float32)
_CEMENT = np.array([0.62, 0.6, 0.57], np.float32)
_CHIPS = np.array([[0.85, 0.83, 0.8], [0.35, 0.3, 0.28], [0.6, 0.38, 0.3], [0.42, 0.47, 0.45]], np.float32)
_THREADS = 64  # more than cross the picture


@dataclass(frozen=True)
class Weave:
    """A cloth: two families of threads."""

    side_px: int
    pitch_px: float
    angle_rad: float
    phase: tuple[float, float]  # threads
    shades: Field  # float32 (2, 64): brightness of each warp and weft thread
    fuzz: Field  # float32 (side, side) in [0, 1]
    gap: tuple[int, float, float] | None = None  # a warp thread that is missing, from and to which weft thread


def _lay_weave(side_px: int, rng: np.random.Generator) -> Weave:
    return Weave(
        side_px,
        pitch_px=side_px / 21 * rng.uniform(0.97, 1.03),
        angle_rad=rng.normal(0, 0.025),
        phase=(rng.uniform(0, 2), rng.uniform(0, 2)),
        shades=rng.normal(1, 0.06, (2, _THREADS)).astype(np.float32),
        fuzz=fractal_noise(side_px, side_px, side_px / 40, rng, persistence=0.8),
    )


def _without_thread(weave: Weave, rng: np.random.Generator) -> Weave:
    """A stretch of one warp thread is gone; the weft behind it shows."""
    start = rng.uniform(-8, 2)
    return replace(weave, gap=(int(rng.integers(-7, 8)), start, start + rng.uniform(4, 9)))


def _build_weave(weave: Weave) -> Surface:
    along, across = turned_coordinates(weave.side_px, weave.side_px, weave.angle_rad)
    col, row = along / weave.pitch_px + weave.phase[0], across / weave.pitch_px + weave.phase[1]
    warp, weft = np.floor(col).astype(int), np.floor(row).astype(int)
    # Plain weave: where row and column thread have the same parity, the warp arches over the weft.
    warp_height = _arch(col % 1) + 0.7 * np.cos(np.pi * (row - 0.5 + warp))
    weft_height = _arch(row % 1) - 0.7 * np.cos(np.pi * (col - 0.5 + weft))
    if weave.gap is not None:
        thread, first, last = weave.gap
        warp_height = np.where((warp == thread) & (row > first) & (row < last), -2, warp_height)
        weft_height = np.where((warp == thread) & (row > first) & (row < last), weft_height - 0.4, weft_height)
    over = (warp_height > weft_height).astype(np.float32)
    height = np.maximum(warp_height, weft_height).astype(np.float32)
    thread_colour = mix(
        _WEFT * weave.shades[1][weft % _THREADS][..., None], _WARP * weave.shades[0][warp % _THREADS][..., None], over
    )
    # Between threads little light comes back; fuzz is what makes yarn of a tube.
    depth = np.clip(0.55 + 0.3 * height, 0.15, 1) * (0.8 + 0.4 * weave.fuzz)
    relief = weave.pitch_px * (0.22 * height + 0.12 * weave.fuzz)
    everywhere = np.ones((weave.side_px, weave.side_px), bool)
    return Surface((thread_colour * depth[..., None]).astype(np.float32), relief.astype(np.float32), everywhere, 0.0)


def _arch(phase: Field) -> Field:
    """Height of a round thread across its breadth, 0..1."""
    return np.sqrt(np.clip(1 - (2 * phase - 1) ** 2, 0, 1)).astype(np.float32)


@dataclass(frozen=True)
class Terrazzo:
    """A polished tile: chips of stone in cement."""

    side_px: int
    chips: tuple[Points, ...]
    colours: Field  # float32 (chips, 3)
    clouds: Field  # float32 (side, side) in [0, 1]


def _lay_terrazzo(side_px: int, rng: np.random.Generator) -> Terrazzo:
    count = 150
    corners = [rng.uniform(0.5, 1, int(rng.integers(5, 9))) for _ in range(count)]
    sizes = side_px * np.sort(rng.lognormal(np.log(0.022), 0.5, count))[::-1]
    places = rng.uniform(0, side_px, (count, 2))
    chips = tuple(size * polar(radii) + at for size, radii, at in zip(sizes, corners, places, strict=True))
    colours = _CHIPS[rng.integers(0, len(_CHIPS), count)] * rng.normal(1, 0.06, (count, 1))
    return Terrazzo(side_px, chips, colours.astype(np.float32), fractal_noise(side_px, side_px, side_px / 8, rng))


def _build_terrazzo(tile: Terrazzo) -> Surface:
    side = tile.side_px
    albedo = _CEMENT * (0.92 + 0.16 * tile.clouds)[..., None]
    relief = np.zeros((side, side), np.float32)
    for points, colour in zip(tile.chips, tile.colours, strict=True):
        seen = cover(Outline((points,)), side, side)
        if seen is None:
            continue
        within, stone = seen.window, colour * (0.85 + 0.3 * tile.clouds[::-1][seen.window])[..., None]
        albedo[within] = mix(albedo[within], stone, seen.whole)
        relief[within] = np.maximum(relief[within], seen.whole)
    smooth = side / 256 * 0.4 * swell(relief > 0.5, side / 128)
    return Surface(albedo, smooth, np.ones((side, side), bool), 0.05)


WEAVE = Category(
    _lay_weave,
    _build_weave,
    {"missing_thread": _without_thread},
    {"loose_thread": loose_thread, "hole": hole, "stain": stain},
)
TERRAZZO = Category(
    _lay_terrazzo, _build_terrazzo, {}, {"crack": crack, "chip": chip, "scratch": scratch, "stain": stain}
)
