"""A decision instead of a score: the threshold that normal images set, and the places of a map that lie above it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest

LEAST_NORMALS = 2
ROUNDING = 1e-6  # of a rate
CONFIDENCE = 0.9
HALVINGS = 40


@dataclass(frozen=True)
class Threshold:
    """Above `score` an image is anomalous; what lies above `pixel` in its map is marked."""

    score: float
    pixel: float
    rate: float  # of false alarms that was asked for, of images
    vouched: float  # the rate that so many normal images keep on average; above `rate` where they are too few
    at_worst: float  # the rate that nine sets of so many normal images in ten keep
    normals: int  # images that set it


@dataclass(frozen=True)
class Region:
    """A connected place above the threshold, in pixels of the map."""

    left: int
    top: int
    width: int
    height: int
    area_px: int
    highest: float


def threshold_of(scores: Sequence[float], peaks: Sequence[float], rate: float) -> Threshold:
    """The threshold that of n normal images leaves at most a share `rate` above it, and on average of new ones as well.

    Split conformal prediction: a new image that is as normal as these is above the k-th smallest of n scores with a
    chance of at most 1 - k / (n + 1), whatever their distribution. That is the mean over sets of n images; of one set
    the rate is Beta(n - k + 1, k), of which `at_worst` is the 0.9 quantile. Where n is below 1 / rate - 1 no score of
    theirs keeps the promise; then it is the highest, and `vouched` says 1 / (n + 1).

    Args:
        scores: of normal images that were not looked at otherwise.
        peaks: the highest pixel of the map of each.
        rate: of false alarms, in (0, 1).

    Raises:
        BadRequest: there are fewer than two images, or the rate is no share.
    """
    count = len(scores)
    check_threshold(count, rate)
    # Of 99 images and a rate of 0.01 k is 99; rounding must not make it 100.
    place = max(1, min(math.ceil((count + 1) * (1 - rate) - ROUNDING), count))
    of_images, of_pixels = (float(np.sort(values)[place - 1]) for values in (scores, peaks))
    return Threshold(of_images, of_pixels, rate, 1 - place / (count + 1), _at_worst(count, place), count)


def check_threshold(count: int, rate: float) -> None:
    """Check that so many normal images can set a threshold; raises as `threshold_of`."""
    if count < LEAST_NORMALS:
        raise BadRequest(
            f"{count} normal images that are neither prompts nor copies; wanted {LEAST_NORMALS} or more to set a"
            " threshold"
        )
    if not 0 < rate < 1:
        raise BadRequest(f"a rate of false alarms of {rate}; wanted a share between 0 and 1, such as 0.05")


def _at_worst(count: int, place: int) -> float:
    """The quantile CONFIDENCE of Beta(count - place + 1, place), by halving.

    Its distribution function at x is the chance that of `count` uniform numbers more than count - place are below x.
    """
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        few = sum(
            math.comb(count, below) * middle**below * (1 - middle) ** (count - below)
            for below in range(count - place + 1)
        )
        low, high = (low, middle) if 1 - few > CONFIDENCE else (middle, high)
    return high


def in_words(threshold: Threshold) -> str:
    """One line: what a threshold promises."""
    few = ", too few for less" if threshold.vouched > threshold.rate + ROUNDING else ""
    return (
        f"threshold {threshold.score:.4f}, by {threshold.normals} normal images{few}: on average at most"
        f" {threshold.vouched:.1%} of such images are above it, {threshold.at_worst:.1%} in nine sets of ten"
    )


def regions_of(shown: npt.NDArray[np.float32], level: float) -> list[Region]:
    """The regions of the map (H, W) of an anomalous image; where none is above the level, its highest place.

    The score of an image need not be its highest pixel, so the two may disagree.
    """
    below_highest = float(np.nextafter(shown.max(), np.float32(-np.inf)))
    return regions(shown, min(level, below_highest))


def regions(shown: npt.NDArray[np.float32], level: float) -> list[Region]:
    """The connected places (also across corners) of a map (H, W) above a level, the largest first."""
    above = (shown > level).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    found = []
    for number in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[number])
        inside = np.s_[top : top + height, left : left + width]
        highest = float(shown[inside][labels[inside] == number].max())
        found.append(Region(left, top, width, height, area, highest))
    return sorted(found, key=lambda region: (-region.area_px, region.top, region.left))
