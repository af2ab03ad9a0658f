"""How good pairs are, as figures: what can be seen of a change, how large it is, and how its border stands out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.arrays import Image, Mask
from pipeline.changes.visible import contrast
from pipeline.spread import spread

# Upper ends of the bins of mask areas, as shares of the image: each is 1.5 times the one before, up to the whole.
AREA_BINS = tuple(round(1.5**-power, 6) for power in range(20, -1, -1))


@dataclass(frozen=True)
class Published:
    """The mask areas, as shares of the image, that others state or that their code gives."""

    low: float
    high: float
    source: str


# Neither the paper nor CYWS states areas: CYWS's script is lost. What can be known of the closest public code.
PUBLISHED_AREAS = {
    "inpaint": Published(0.0, 0.70, "union of removed instances in the public re-creation of CYWS's data (at most)"),
    "paste": Published(0.0, 0.35, "union of pasted instances in the same re-creation (at most)"),
    "local": Published(
        0.0036, 0.179, "1 % and 99 % quantiles of DRAEM's masks at 256 px, simulated, without empty ones"
    ),
}


@dataclass(frozen=True)
class PairQuality:
    """The measures of one pair with a mask that is not empty."""

    area: float  # of the mask, as a share of the image
    visible: float  # share of the mask's pixels that differ visibly
    seam: float | None  # mean step across the mask's border in the changed image, levels; None: no border
    seam_before: float | None  # the same places in the original


def sample_pairs(shards: Sequence[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """At most `count` pairs, evenly taken from shards of (name, pairs): names and places."""
    ends = np.cumsum([pairs for _, pairs in shards])
    numbers = spread(int(ends[-1]), count)
    found = np.searchsorted(ends, numbers, side="right")
    return [
        (shards[shard][0], int(number - ends[shard] + shards[shard][1]))
        for shard, number in zip(found, numbers, strict=True)
    ]


def measure_pair(original: Image, changed: Image, mask: Mask, min_contrast: int) -> PairQuality:
    """Measure one pair.

    Args:
        original: uint8 (H, W, 3).
        changed: uint8 (H, W, 3).
        mask: bool (H, W), not empty.
        min_contrast: the channel difference, 0..255, from which on a pixel counts as visibly changed.
    """
    return PairQuality(
        area=float(mask.mean()),
        visible=float((contrast(original, changed)[mask] >= min_contrast).mean()),
        seam=border_step(changed, mask),
        seam_before=border_step(original, mask),
    )


def border_step(image: Image, mask: Mask) -> float | None:
    """The mean difference (largest of the channels, 0..255) between neighbours on either side of the mask's border.

    Neighbours share an edge. None when the mask has no border inside the image.
    """
    steps = [
        contrast(first, second)[one != other]
        for first, second, one, other in (
            (image[1:], image[:-1], mask[1:], mask[:-1]),
            (image[:, 1:], image[:, :-1], mask[:, 1:], mask[:, :-1]),
        )
        if one.size
    ]
    levels = np.concatenate([np.zeros(0, np.uint8), *steps])
    return float(levels.mean()) if levels.size else None


def area_histogram(areas: Sequence[float]) -> list[float]:
    """The share of `areas` in each of AREA_BINS: above the bin before, up to its own end."""
    found = np.searchsorted(AREA_BINS, areas)
    return [float(share) for share in np.bincount(found, minlength=len(AREA_BINS)) / max(len(areas), 1)]


def _within(areas: npt.NDArray[np.float64], published: Published) -> float:
    return float(((areas >= published.low) & (areas <= published.high)).mean())


def summarise_quality(kind: str, pairs: Sequence[PairQuality]) -> dict[str, float | int]:
    """The figures of one kind of change, from at least one pair; shares in [0, 1], seams in levels."""
    areas = np.array([pair.area for pair in pairs])
    seams = [(pair.seam, pair.seam_before) for pair in pairs if pair.seam is not None and pair.seam_before is not None]
    after, before = np.mean(seams, axis=0) if seams else (0.0, 0.0)
    published = PUBLISHED_AREAS.get(kind)
    figures = {
        "visible share of mask": np.mean([pair.visible for pair in pairs]),
        "area mean": areas.mean(),
        "area 5 %": np.quantile(areas, 0.05),
        "area median": np.median(areas),
        "area 95 %": np.quantile(areas, 0.95),
        **({"area within published": _within(areas, published)} if published else {}),
        "seam": after,
        "seam before": before,
    }
    return {"pairs": len(pairs)} | {name: round(float(value), 5) for name, value in figures.items()}
