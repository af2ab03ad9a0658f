"""Materials: the colour of a surface before light falls on it, `(height, width, scale_px, rng) -> float32 (H, W, 3)`.

`scale_px` is the size of the main feature: a stripe, a tile, a grain.
"""

from collections.abc import Callable

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
    turned_coordinates,
)

Material = Callable[[int, int, float, np.random.Generator], Picture]


def plain(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """One colour with faint clouds: paint, plastic, paper."""
    (colour,) = draw_palette(1, rng)
    clouds = fractal_noise(height, width, 4 * scale_px, rng)
    return _tinted(np.broadcast_to(colour, (height, width, 3)), clouds, rng.uniform(0.03, 0.2))


def mottled(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Three colours mixed by fractal noise: stone, rust, camouflage."""
    dark, middle, bright = draw_palette(3, rng)
    sharpness = rng.uniform(0.05, 0.4)
    clouds = fractal_noise(height, width, 2 * scale_px, rng)
    spots = fractal_noise(height, width, scale_px, rng)
    base = mix(dark, middle, smoothstep(clouds, 0.5 - sharpness, 0.5 + sharpness))
    return mix(base, bright, smoothstep(spots, 0.6, 0.6 + sharpness))


def marble(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Thin warped veins."""
    vein, body = draw_palette(2, rng)
    along, _ = turned_coordinates(height, width, rng.uniform(0, np.pi))
    warp = fractal_noise(height, width, 3 * scale_px, rng)
    ridge = np.abs(np.sin(along / scale_px + rng.uniform(4, 10) * warp))
    return mix(vein, body, (ridge ** np.float32(rng.uniform(0.3, 0.8))).astype(np.float32))


def stripes(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Bands of two to four colours, straight or wavy."""
    colours = np.stack(draw_palette(int(rng.integers(2, 5)), rng))
    along, _ = turned_coordinates(height, width, rng.uniform(0, np.pi))
    if rng.random() < 0.4:
        along = along + scale_px * rng.uniform(0.5, 2) * smooth_noise(height, width, (3 * scale_px, 3 * scale_px), rng)
    band = np.floor(along / scale_px).astype(np.int64) % len(colours)
    return _soften(_worn(colours[band], scale_px, rng))


def checks(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """A tartan or chessboard of two crossing band patterns."""
    dark, bright, line = draw_palette(3, rng)
    along, across = turned_coordinates(height, width, rng.uniform(0, np.pi))
    odd_column, odd_row = np.floor(along / scale_px) % 2, np.floor(across / scale_px) % 2
    share = np.abs(odd_column - odd_row) if rng.random() < 0.5 else (odd_column + odd_row) / 2
    cloth = mix(dark, bright, share.astype(np.float32))
    threads = (np.abs(along / scale_px % 2 - 1) < 0.06) | (np.abs(across / scale_px % 2 - 1) < 0.06)
    return _soften(_worn(mix(cloth, line, threads.astype(np.float32)), scale_px, rng))


def dots(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Round dots on a staggered lattice."""
    ground, dot = draw_palette(2, rng)
    along, across = turned_coordinates(height, width, rng.uniform(0, np.pi))
    pitch = max(4.0, 1.6 * scale_px)
    row = np.floor(across / pitch)
    away = np.hypot((along / pitch + row % 2 / 2) % 1 - 0.5, across / pitch % 1 - 0.5).astype(np.float32)
    radius = rng.uniform(0.18, 0.38)
    return _worn(mix(dot, ground, smoothstep(away, radius - 1 / pitch, radius + 1 / pitch)), scale_px, rng)


def wood(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Long grain with year rings in browns, or in the drawn colours of stained wood."""
    hue = np.array([rng.uniform(0.4, 0.8), rng.uniform(0.25, 0.5), rng.uniform(0.1, 0.3)], np.float32)
    dark = hue * np.float32(rng.uniform(0.35, 0.65))
    length, breadth = (width, height) if (turned := rng.random() < 0.5) else (height, width)
    warp = fractal_noise(length, breadth, 4 * scale_px, rng, stretch=6)
    across = turned_coordinates(length, breadth, 0)[1]
    rings = (0.5 + 0.5 * np.sin(across / scale_px * 2 + 9 * warp)).astype(np.float32)
    fibre = fractal_noise(length, breadth, 3, rng, stretch=16)
    grain = mix(dark, hue, (0.6 * rings + 0.4 * fibre).astype(np.float32))
    return np.ascontiguousarray(grain.transpose(1, 0, 2)) if turned else grain


def speckle(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Grains of several colours: granite, terrazzo, gravel, soil."""
    ground, *grains = draw_palette(4, rng)
    picture: Picture = np.broadcast_to(ground, (height, width, 3)).astype(np.float32)
    for colour in grains:
        cell = max(1.5, scale_px * rng.uniform(0.15, 0.5))
        field = smooth_noise(height, width, (cell, cell), rng)
        picture = mix(picture, colour, smoothstep(field, 0.68, 0.8))
    return _worn(picture, scale_px, rng)


def brushed(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Metal brushed along one axis."""
    tint = np.float32(rng.uniform(0.45, 0.85)) * rng.uniform(0.85, 1.0, 3).astype(np.float32)
    lines = fractal_noise(height, width, max(2.0, scale_px / 4), rng, stretch=20)
    return _tinted(np.broadcast_to(tint, (height, width, 3)), lines, rng.uniform(0.2, 0.5))


def fabric(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """A coarse weave: each thread lit along its middle, crossings alternate."""
    warp, weft = draw_palette(2, rng)
    along, across = turned_coordinates(height, width, rng.uniform(0, np.pi))
    pitch = float(np.clip(scale_px / 3, 3, 9))
    over = (np.floor(along / pitch) + np.floor(across / pitch)) % 2
    lit = np.where(over > 0, np.sin(np.pi * (along / pitch % 1)), np.sin(np.pi * (across / pitch % 1)))
    cloth = mix(warp, warp + (weft - warp) * np.float32(rng.uniform(0.1, 1)), over.astype(np.float32))
    return _worn(cloth * (0.55 + 0.45 * lit[..., None]).astype(np.float32), scale_px, rng)


def cobbles(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Cells around scattered points, each its own shade: cobblestones, scales, crazed glaze, hide."""
    low, high, joint = draw_palette(3, rng)
    count = max(3, int(height * width / scale_px**2))
    seeds = np.full((height, width), 255, np.uint8)
    seeds[rng.integers(0, height, count), rng.integers(0, width, count)] = 0
    to_seed, cell = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    shade = rng.random(count + 1, dtype=np.float32)[cell % (count + 1)]
    edges = (cv2.dilate(cell.astype(np.float32), np.ones((3, 3))) > cell).astype(np.float32)
    gap = cv2.GaussianBlur(edges, (0, 0), max(0.6, scale_px / 16))
    stones = mix(low, high, shade) * (1 - 0.25 * normalise(np.asarray(to_seed, dtype=np.float32)))[..., None]
    return mix(_worn(stones, scale_px, rng), joint * np.float32(0.6), np.clip(1.6 * gap, 0, 1))


def bricks(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Rows of bricks, tiles or planks with joints; every brick has its own shade."""
    low, high, joint = draw_palette(3, rng)
    length = scale_px * rng.choice([1.0, 2.0, 6.0])
    along, across = turned_coordinates(height, width, rng.choice([0.0, np.pi / 2]))
    row = np.floor(across / scale_px)
    along = along + rng.choice([0.0, 0.5, 0.37]) * length * row
    column = np.floor(along / length)
    shade = rng.random((64, 64), dtype=np.float32)[row.astype(np.int64) % 64, column.astype(np.int64) % 64]
    inset = np.minimum(_to_edge(along, length), _to_edge(across, scale_px))
    joint_px = max(0.7, scale_px * rng.uniform(0.01, 0.07))
    face = fractal_noise(height, width, scale_px, rng, stretch=length / scale_px)
    wall = _tinted(mix(low, low + (high - low) * np.float32(0.6), shade), face, 0.35)
    return mix(joint * np.float32(0.7), wall, smoothstep(inset, joint_px - 0.6, joint_px + 0.6))


def strokes(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """Short blades in one prevailing direction: grass, fur, straw, brush strokes."""
    colours = draw_palette(5, rng)
    picture: Picture = np.empty((height, width, 3), np.float32)
    picture[:] = colours[0] * np.float32(0.6)
    count = int(min(1500, 6 * height * width / max(scale_px, 4) ** 1.5))
    start = rng.random((count, 2)) * (width, height)
    angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, rng.uniform(0.15, 0.6), count)
    end = start + scale_px * rng.uniform(0.4, 1.2, (count, 1)) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    start, end = np.rint(8 * start).astype(int), np.rint(8 * end).astype(int)  # 3 bits of fraction
    shade, which = rng.uniform(0.6, 1.15, count), rng.integers(1, len(colours), count)
    for first, last, light, index in zip(start, end, shade, which, strict=True):
        ink = (colours[index] * light).tolist()
        cv2.line(picture, first.tolist(), last.tolist(), ink, max(1, int(scale_px / 12)), cv2.LINE_8, 3)
    return _soften(np.clip(picture, 0, 1))


def printed(height: int, width: int, scale_px: float, rng: np.random.Generator) -> Picture:
    """A printed wrapper: letters, bars and discs on a plain ground."""
    ground, *inks = draw_palette(4, rng)
    picture: Picture = np.empty((height, width, 3), np.float32)
    picture[:] = ground
    for _ in range(int(np.clip(height * width / (2 * scale_px**2), 4, 60))):
        ink = inks[rng.integers(len(inks))].tolist()
        at = int(rng.integers(-4, width)), int(rng.integers(0, height + 4))
        size = max(2, int(scale_px * rng.uniform(0.2, 0.8)))
        match int(rng.integers(3)):
            case 0:
                text = "".join(chr(code) for code in rng.integers(65, 91, int(rng.integers(1, 6))))
                cv2.putText(picture, text, at, cv2.FONT_HERSHEY_DUPLEX, size / 22, ink, max(1, size // 9), cv2.LINE_8)
            case 1:
                cv2.rectangle(picture, at, (at[0] + 3 * size, at[1] + max(1, size // 3)), ink, -1)
            case _:
                cv2.circle(picture, at, size // 2, ink, -1 if rng.random() < 0.6 else max(1, size // 6))
    return _soften(_worn(picture, scale_px, rng))


MATERIALS: tuple[Material, ...] = (
    plain,
    mottled,
    marble,
    stripes,
    checks,
    dots,
    wood,
    speckle,
    brushed,
    fabric,
    cobbles,
    bricks,
    strokes,
    printed,
)


def _tinted(picture: Picture, field: Field, strength: float) -> Picture:
    """`picture` made darker and brighter by up to `strength` after a field in [0, 1]."""
    return np.clip(picture * (1 + strength * (2 * field - 1))[..., None], 0, 1).astype(np.float32)


def _worn(picture: Picture, scale_px: float, rng: np.random.Generator) -> Picture:
    """No real surface repeats exactly: uneven fading over a few features."""
    height, width = picture.shape[:2]
    return _tinted(picture, fractal_noise(height, width, 2 * scale_px, rng), rng.uniform(0.05, 0.3))


def _soften(picture: Picture) -> Picture:
    """Hard edges of a pattern drawn without anti-aliasing, made one pixel soft."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.6), dtype=np.float32)


def _to_edge(coordinate: Field, length: float) -> Field:
    """Distance in pixels to the nearest multiple of `length`."""
    phase = coordinate / length % 1
    return (np.minimum(phase, 1 - phase) * length).astype(np.float32)
