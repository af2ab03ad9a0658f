"""The seven scores of anomaly segmentation, exact: every distinct score is a threshold, and the pixels are sorted once.

Scores depend on ranks only, so maps need no common range; AUROC below 0.5 is never flipped. Without an anomalous or
without a normal item there is nothing to tell apart, and a score is NaN. A constant map has AUROC 0.5, AP equal to the
share of anomalous items and AUPRO 0.15 (the diagonal up to FPR 0.3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import Failure

Maps = npt.NDArray[np.float32]  # float32 (N, H, W), higher is more anomalous
Masks = npt.NDArray[np.bool_]  # bool (N, H, W)

FPR_LIMIT = 0.3  # of AUPRO (Bergmann et al., MVTec AD)
NAMES = ("I-AUROC", "I-AP", "I-F1max", "P-AUROC", "P-AP", "P-F1max", "AUPRO")


@dataclass(frozen=True)
class Scores:
    """Image-level (I-) and pixel-level (P-) scores in [0, 1], NaN where undefined; fields in the order of `NAMES`."""

    i_auroc: float
    i_ap: float
    i_f1max: float
    p_auroc: float
    p_ap: float
    p_f1max: float
    aupro: float

    def by_name(self) -> dict[str, float]:
        """The scores under the names that tables use."""
        return dict(zip(NAMES, (getattr(self, field) for field in self.__dataclass_fields__), strict=True))


def score(
    maps: Maps,
    masks: Masks,
    *,
    valid: Masks | None = None,
    labels: npt.NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
) -> Scores:
    """Score anomaly maps against their masks, pixels pooled over all images; nothing is resized or smoothed.

    Args:
        maps: float32 (N, H, W). An image's score is the highest pixel of its map (paper, section 3.4).
        masks: bool (N, H, W), True where anomalous. Regions are 8-connected.
        valid: bool (N, H, W), False where a pixel is to be ignored.
        labels: bool (N,), True for an anomalous image; by default, whether its mask has a valid pixel.
        names: what to call each image in an error.

    Raises:
        Failure: a map holds NaN or infinity.
        ValueError: shapes differ, or `maps` is not float32.
    """
    _check(maps, masks, names)
    if valid is None:
        valid = np.ones_like(masks)
    masks = masks & valid
    if labels is None:
        labels = masks.any(axis=(1, 2))
    images = _curve(maps.max(axis=(1, 2), where=valid, initial=-math.inf), labels)
    pixels = _curve(maps[valid], _regions(masks)[valid])
    return Scores(
        _auroc(images), _ap(images), _f1max(images), _auroc(pixels), _ap(pixels), _f1max(pixels), _aupro(pixels)
    )


def average_precision(scores: npt.NDArray[np.float32], labels: npt.NDArray[np.bool_]) -> float:
    """Average precision of float32 scores against bool labels of the same shape; NaN without a True or a False one."""
    return _ap(_curve(scores.ravel(), labels.ravel()))


@dataclass(frozen=True)
class _Curve:
    """What lies at or above each distinct score, from the highest down, after a first entry of zero.

    `flagged` and `true` are int64 (T + 1,): all items and anomalous items. `regions` is uint32 (P,): the region, from
    1, of each anomalous item in the same order.
    """

    flagged: npt.NDArray[np.int64]
    true: npt.NDArray[np.int64]
    regions: npt.NDArray[np.uint32]

    @property
    def false(self) -> npt.NDArray[np.int64]:
        return self.flagged - self.true

    @property
    def has_both(self) -> bool:
        return bool(self.true[-1] and self.false[-1])


def _curve(scores: npt.NDArray[np.float32], regions: npt.NDArray[np.uint32] | npt.NDArray[np.bool_]) -> _Curve:
    """Sort float32 (M,) scores with their regions (M,), 0 for normal items."""
    # One uint64 an item, score above and region below, sorts in place and several times faster than an argsort.
    keys = _descending_bits(scores).astype(np.uint64)
    keys <<= np.uint64(32)
    keys |= regions.astype(np.uint64)
    keys.sort()
    sorted_regions = keys.astype(np.uint32)  # keeps the lower half
    keys >>= np.uint64(32)
    # A threshold falls only between distinct scores: ties are flagged together.
    last_of_tie = np.append(np.flatnonzero(keys[1:] != keys[:-1]), keys.size - 1)
    anomalous = np.flatnonzero(sorted_regions)
    true = np.searchsorted(anomalous, last_of_tie, side="right")
    return _Curve(np.append(0, last_of_tie + 1), np.append(0, true), sorted_regions[anomalous])


def _descending_bits(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Unsigned integers that ascend as the float32 scores descend (an IEEE 754 float is sign and magnitude)."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding zero makes -0.0 equal to 0.0
    return np.where(bits >> 31, bits, bits ^ np.uint32(0x7FFFFFFF))


def _regions(masks: Masks) -> npt.NDArray[np.uint32]:
    """Number the 8-connected regions of all masks from 1; 0 elsewhere."""
    regions = np.zeros(masks.shape, np.uint32)
    found = 0
    for image in np.flatnonzero(masks.any(axis=(1, 2))):
        count, labels = cv2.connectedComponents(masks[image].view(np.uint8), connectivity=8)
        regions[image] = np.where(labels > 0, labels + found, 0)
        found += count - 1  # OpenCV counts the background
    return regions


def _auroc(curve: _Curve) -> float:
    if not curve.has_both:
        return math.nan
    return _area(curve.true / curve.true[-1], curve.false / curve.false[-1])


def _ap(curve: _Curve) -> float:
    if not curve.has_both:
        return math.nan
    return float(np.sum(np.diff(curve.true) * (curve.true[1:] / curve.flagged[1:])) / curve.true[-1])


def _f1max(curve: _Curve) -> float:
    if not curve.has_both:
        return math.nan
    return float(np.max(2 * curve.true / (curve.flagged + curve.true[-1])))


def _aupro(curve: _Curve) -> float:
    """Area under the mean overlap of regions over FPR from 0 to `FPR_LIMIT`, divided by that limit."""
    if not curve.has_both:
        return math.nan
    # Each pixel adds 1 / (size of its region) / (number of regions), so the running sum is the mean overlap.
    sizes = np.bincount(curve.regions)[1:]
    weights = 1 / (sizes * sizes.size)
    overlap = np.append(0, np.cumsum(weights[curve.regions - 1]))[curve.true]
    fpr = curve.false / curve.false[-1]
    after = int(np.searchsorted(fpr, FPR_LIMIT, side="right"))  # first point beyond the limit; FPR ends at 1
    share = (FPR_LIMIT - fpr[after - 1]) / (fpr[after] - fpr[after - 1])
    at_limit = overlap[after - 1] + share * (overlap[after] - overlap[after - 1])
    return _area(np.append(overlap[:after], at_limit), np.append(fpr[:after], FPR_LIMIT)) / FPR_LIMIT


def _area(heights: npt.NDArray[np.float64], places: npt.NDArray[np.float64]) -> float:
    """Area under straight lines between points; `places` ascend."""
    return float(np.sum(np.diff(places) * (heights[1:] + heights[:-1]) / 2))


def _check(maps: Maps, masks: Masks, names: Sequence[str] | None) -> None:
    if maps.shape != masks.shape or maps.ndim != 3 or maps.dtype != np.float32:
        raise ValueError(f"maps are {maps.dtype} {maps.shape}, masks {masks.shape}; wanted float32 and bool (N, H, W)")
    bad = np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))
    if bad.size:
        name = names[bad[0]] if names else f"map {bad[0]}"
        raise Failure(f"{name}: the anomaly map holds NaN or infinity ({bad.size} of {len(maps)} maps); wanted numbers")
