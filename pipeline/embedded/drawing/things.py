"""Things: a drawn outline for each category of the embedded scenes, `rng -> Outline`."""

from collections.abc import Callable

import numpy as np

from pipeline.embedded.drawing.outlines import TURN, Outline, Points, bar, ellipse, polar, profile, superellipse


def draw_ball(rng: np.random.Generator) -> Outline:
    """A ball or an egg."""
    return Outline((ellipse(1, rng.uniform(0.6, 1)),))


def draw_box(rng: np.random.Generator) -> Outline:
    """A box, book or cushion from above."""
    return Outline((superellipse(1, rng.uniform(0.35, 1), rng.uniform(4, 30)),))


def draw_crate(rng: np.random.Generator) -> Outline:
    """A block seen from a corner: three faces."""
    reach, tall, near = rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.4)
    left, right, front = np.array([-reach, -near]), np.array([reach, -near]), np.array([0, 0.0])
    back, down = left + right - front, np.array([0, tall])
    top = np.array([left, back, right, front])
    return Outline(
        (
            np.array([left, front, front + down, left + down]),
            np.array([front, right, right + down, front + down]),
            top,
        )
    )


def draw_polygon(rng: np.random.Generator) -> Outline:
    """An uneven polygon of three to eight corners: a shard, a sign, a stone chip."""
    count = int(rng.integers(3, 9))
    angle = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) * 2 * np.pi / count
    radius = rng.uniform(0.75, 1, count)
    return Outline((np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1),))


def draw_star(rng: np.random.Generator) -> Outline:
    """A star or a flower head with pointed petals."""
    radius = np.tile([1, rng.uniform(0.35, 0.7)], int(rng.integers(4, 10)))
    return Outline((polar(radius),))


def draw_flower(rng: np.random.Generator) -> Outline:
    """Round petals about a disc."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    petals = polar(0.72 + rng.uniform(0.15, 0.28) * np.cos(int(rng.integers(4, 9)) * angle))
    return Outline((petals, ellipse(0.3, 0.3)))


def draw_gear(rng: np.random.Generator) -> Outline:
    """A gear wheel with a bore."""
    teeth = int(rng.integers(8, 19))
    wave = np.cos(teeth * np.linspace(0, 2 * np.pi, 24 * teeth, endpoint=False))
    rim = 1 - rng.uniform(0.12, 0.25) * (1 - np.clip(0.5 + 2.5 * wave, 0, 1))
    bore = rng.uniform(0.15, 0.45)
    return Outline((polar(rim),), (ellipse(bore, bore),))


def draw_ring(rng: np.random.Generator) -> Outline:
    """A ring, a tyre, a doughnut."""
    rows, bore = rng.uniform(0.6, 1), rng.uniform(0.35, 0.8)
    return Outline((ellipse(1, rows),), (ellipse(bore, rows * bore),))


def draw_stone(rng: np.random.Generator) -> Outline:
    """A smooth irregular blob: a potato, a pebble, a puddle."""
    radius = np.full(len(TURN), 0.8)
    for harmonic in range(2, 7):
        radius += rng.normal(0, 0.14 / harmonic) * np.cos(harmonic * TURN + rng.uniform(0, 2 * np.pi))
    return Outline((polar(radius) * (1, rng.uniform(0.55, 1)),))


def draw_leaf(rng: np.random.Generator) -> Outline:
    """A bent leaf or feather with a stalk."""
    along = np.linspace(0, 1, 48)
    half = rng.uniform(0.25, 0.5) * np.sin(np.pi * along ** rng.uniform(0.6, 1.2)) ** rng.uniform(0.7, 1.3)
    half *= 1 + rng.choice([0, 0.12]) * np.sin(along * rng.integers(30, 60))
    bend = rng.uniform(-0.4, 0.4) * (along - 0.5) ** 2
    col = 1.8 * along - 0.8
    blade = np.concatenate([np.stack([col, bend + half], axis=1), np.stack([col, bend - half], axis=1)[::-1]])
    return Outline((blade, bar((-1, bend[0]), (0.9, bend[24]), 0.045)))


def draw_crescent(rng: np.random.Generator) -> Outline:
    """A moon, banana or horn."""
    angle = np.linspace(-2.1, 2.1, 60)
    inner = rng.uniform(0.45, 0.8)
    outside = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    thin = inner + (1 - inner) * (np.abs(angle) / 2.1) ** 2
    return Outline((np.concatenate([outside, (outside * thin[:, None])[::-1]]) - (0.4, 0),))


def draw_cross(rng: np.random.Generator) -> Outline:
    """Two crossing bars."""
    breadth = rng.uniform(0.2, 0.6)
    return Outline((bar((-1, 0), (1, 0), breadth), bar((0, -1), (0, rng.uniform(0.6, 1)), breadth)))


def draw_heart(rng: np.random.Generator) -> Outline:
    """A heart."""
    col = np.sin(TURN) ** 3
    row = (13 * np.cos(TURN) - 5 * np.cos(2 * TURN) - 2 * np.cos(3 * TURN) - np.cos(4 * TURN)) / -16
    return Outline((np.stack([col * rng.uniform(0.8, 1.1), row], axis=1),))


def draw_bottle(rng: np.random.Generator) -> Outline:
    """A bottle with a cap."""
    neck, body = rng.uniform(0.08, 0.16), rng.uniform(0.25, 0.45)
    shoulder = int(rng.integers(2, 5))
    half = np.concatenate([[neck] * shoulder, [neck + 0.4 * (body - neck)], [body] * (10 - shoulder)])
    return Outline((profile(half), bar((0, -1.06), (0, -0.88), 2.5 * neck)))


def draw_vase(rng: np.random.Generator) -> Outline:
    """A vase, jar or lamp foot: any turned body."""
    return Outline((profile(rng.uniform(0.18, 0.65, int(rng.integers(4, 8)))),))


def draw_mug(rng: np.random.Generator) -> Outline:
    """A mug whose handle lets the background through."""
    half = rng.uniform(0.45, 0.65)
    taper = rng.uniform(0.75, 1)
    body = np.array([(-half, -0.7), (half, -0.7), (half * taper, 0.8), (-half * taper, 0.8)])
    grip, reach = rng.uniform(0.3, 0.45), rng.uniform(0.25, 0.4)
    handle = ellipse(reach + 0.1, grip, (half, 0))
    gap = ellipse(reach - 0.06, grip - 0.14, (half + 0.02, 0))
    inside = gap[gap[:, 0] > half]
    return Outline((handle, body, ellipse(half, 0.1, (0, -0.7))), (inside,))


def draw_spoon(rng: np.random.Generator) -> Outline:
    """A spoon, racket or magnifier: a long handle with a head."""
    head = rng.uniform(0.18, 0.4)
    bowl = ellipse(head, head * rng.uniform(0.5, 1), (1 - head, 0))
    return Outline((bar((-1, 0), (1 - head, 0), rng.uniform(0.06, 0.14)), bowl))


def draw_comb(rng: np.random.Generator) -> Outline:
    """A comb, fork or rake: teeth on a back."""
    count, deep = int(rng.integers(3, 9)), rng.uniform(0.5, 1.1)
    teeth = [bar((col, -0.3), (col, deep - 0.3), 0.9 / count) for col in np.linspace(-0.9, 0.9, count)]
    return Outline((superellipse(1, 0.2, 8, (0, -0.4)), *teeth))


def draw_mushroom(rng: np.random.Generator) -> Outline:
    """A mushroom, umbrella or table lamp: a cap on a stem."""
    angle = np.linspace(np.pi, 2 * np.pi, 48)
    cap = np.stack([np.cos(angle), rng.uniform(0.5, 1) * np.sin(angle)], axis=1)
    return Outline((bar((0, -0.1), (rng.uniform(-0.15, 0.15), 0.9), rng.uniform(0.12, 0.5)), cap))


def draw_fish(rng: np.random.Generator) -> Outline:
    """A fish with tail and fin."""
    body = ellipse(0.75, rng.uniform(0.25, 0.5), (0.2, 0))
    spread = rng.uniform(0.25, 0.5)
    tail = np.array([(-0.45, 0), (-1, -spread), (-0.85, 0), (-1, spread)])
    fin = np.array([(0.3, -0.2), (-0.1, -0.65), (-0.15, -0.2)])
    return Outline((tail, fin, body, ellipse(0.06, 0.06, (0.65, -0.08))))


def draw_chair(rng: np.random.Generator) -> Outline:
    """A chair or stool from the front."""
    legs, back = rng.uniform(0.08, 0.16), rng.uniform(0.4, 0.6)
    seat = bar((-0.6, 0.1), (0.6, 0.1), 0.2)
    left, right = bar((-0.5, -1), (-0.6, 1), legs), bar((0.5, -1), (0.6, 1), legs)
    return Outline((left, right, bar((-0.55, back - 1.2), (0.55, back - 1.2), rng.uniform(0.15, 0.5)), seat))


def draw_car(rng: np.random.Generator) -> Outline:
    """A toy car: body, cabin, windows and wheels."""
    roof = rng.uniform(0.35, 0.6)
    cabin = np.array([(-0.6, -0.05), (-0.4, -roof), (0.25, -roof), (0.55, -0.05)])
    window = cabin * 0.72 + (0, -0.05)
    wheels = [ellipse(size, size, (col, 0.32)) for col in (-0.55, 0.55) for size in (0.22, 0.1)]
    return Outline((superellipse(1, 0.22, 6, (0, 0.12)), cabin, window, *wheels))


def draw_tree(rng: np.random.Generator) -> Outline:
    """A tree: crowns on a trunk."""
    crowns = [
        ellipse(size, size, (rng.uniform(-0.4, 0.4), rng.uniform(-0.6, 0.1))) for size in rng.uniform(0.3, 0.5, 5)
    ]
    return Outline((bar((0, 0), (0, 1), rng.uniform(0.12, 0.25)), *crowns))


def draw_berries(rng: np.random.Generator) -> Outline:
    """A few separate pieces that are one thing: a bunch, a pair, a set."""
    count = int(rng.integers(2, 7))
    angle = (np.arange(count) + rng.uniform(-0.2, 0.2, count)) * 2 * np.pi / count
    size = rng.uniform(0.6, 0.9) * np.sin(np.pi / max(count, 3)) * 0.7
    return Outline(tuple(_pieces(angle, size, rng)))


def _pieces(angle: Points, size: float, rng: np.random.Generator) -> list[Points]:
    """Blobs of a like shape on a circle."""
    power = rng.choice([2.0, 2.0, 6.0])
    return [superellipse(size, size * rng.uniform(0.8, 1), power, (0.7 * np.cos(a), 0.7 * np.sin(a))) for a in angle]


THINGS: dict[str, Callable[[np.random.Generator], Outline]] = {
    "ball": draw_ball,
    "box": draw_box,
    "crate": draw_crate,
    "polygon": draw_polygon,
    "star": draw_star,
    "flower": draw_flower,
    "gear": draw_gear,
    "ring": draw_ring,
    "stone": draw_stone,
    "leaf": draw_leaf,
    "crescent": draw_crescent,
    "cross": draw_cross,
    "heart": draw_heart,
    "bottle": draw_bottle,
    "vase": draw_vase,
    "mug": draw_mug,
    "spoon": draw_spoon,
    "comb": draw_comb,
    "mushroom": draw_mushroom,
    "fish": draw_fish,
    "chair": draw_chair,
    "car": draw_car,
    "tree": draw_tree,
    "berries": draw_berries,
}
