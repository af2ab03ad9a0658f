"""The seven scores of anomaly segmentation, exact at any size: every distinct score of a pixel is a threshold.

All of them follow from the anomalous pixels alone, if each knows how many normal pixels score above it and level with
it: the anomalous ones, few, are kept in memory; the normal ones are only counted, so they are sorted block by block,
and what exceeds one block lies in a temporary file. Memory is 4 bytes a normal pixel up to `BLOCK` of them and 8 bytes
an anomalous one, and no figure is approximate. On disk, in TMPDIR, are 4 bytes for each normal pixel of each `Tally`
beyond its block: of a category, 4 bytes x normal pixels x runs; a run is a method under one draw of prompts.

Scores depend on ranks only, so maps need no common range; AUROC below 0.5 is never flipped. What is defined how:

    ties                                 flagged together: straight lines in ROC and PRO, one step in PR
    a constant map                       AUROC 0.5, AP the share of anomalous items, AUPRO 0.15 (the diagonal to 0.3)
    no anomalous or no normal image      the three I- scores are NaN: there is nothing to tell apart
    no anomalous or no normal pixel      the four pixel scores are NaN
    NaN or infinity in a map             Failure that names the image
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import Failure
from model.scores.blocks import Blocks
from model.scores.keys import keys_of, pack, to_keys, to_scores
from model.scores.totals import FPR_LIMIT, summed_overlap, totals

Maps = npt.NDArray[np.float32]  # float32 (N, H, W), higher is more anomalous
Masks = npt.NDArray[np.bool_]  # bool (N, H, W)
Aupro = Literal["exact", "200 thresholds"]

STEPS = 200  # thresholds of the published evaluator's AUPRO
NAMES = ("I-AUROC", "I-AP", "I-F1max", "P-AUROC", "P-AP", "P-F1max", "AUPRO")
BLOCK = 1 << 26  # normal pixels sorted in memory together: all of a class of MVTec AD at 512 px


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
    aupro: Aupro = "exact",
) -> Scores:
    """Score anomaly maps that are in memory; arguments as of `Tally.add` and `Tally.scores`."""
    tally = Tally()
    tally.add(maps, masks, valid=valid, labels=labels, names=names)
    return tally.scores(aupro)


def average_precision(scores: npt.NDArray[np.float32], labels: npt.NDArray[np.bool_]) -> float:
    """Average precision of float32 scores against bool labels of the same shape; NaN without a True or a False one."""
    keys, anomalous = to_keys(scores.ravel()), labels.ravel()
    normal = Blocks(keys.size)
    normal.add(keys[~anomalous])
    return totals(normal, np.sort(pack(keys[anomalous]))).ap


class Tally:
    """The scores of any number of anomaly maps, added a few at a time; pixels are pooled over all images.

    Args:
        block: how many normal pixels to keep in memory.
    """

    def __init__(self, block: int = BLOCK) -> None:
        self._normal = Blocks(block)
        self._anomalous: list[npt.NDArray[np.uint64]] = []
        self._in_order = False
        self._regions = 0
        self._highest: list[float] = []
        self._labels: list[bool] = []

    def add(
        self,
        maps: Maps,
        masks: Masks,
        *,
        valid: Masks | None = None,
        highest: npt.NDArray[np.float32] | None = None,
        labels: npt.NDArray[np.bool_] | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Count maps against their masks; nothing is resized or smoothed.

        Args:
            maps: float32 (N, H, W). An image's score is the highest pixel of its map (paper, section 3.4).
            masks: bool (N, H, W), True where anomalous. Regions are 8-connected.
            valid: bool (N, H, W), False where a pixel is to be ignored.
            highest: float32 (N,), the score of each image; by default the highest valid pixel.
            labels: bool (N,), True for an anomalous image; by default, whether its mask has a valid pixel.
            names: what to call each image in an error.

        Raises:
            Failure: a map holds NaN or infinity; or the temporary file cannot be written.
            ValueError: shapes differ, or `maps` is not float32.
        """
        if maps.shape != masks.shape or maps.ndim != 3 or maps.dtype != np.float32 or masks.dtype != np.bool_:
            raise ValueError(
                f"maps are {maps.dtype} {maps.shape}, masks {masks.dtype} {masks.shape};"
                " wanted float32 and bool (N, H, W)"
            )
        for place, (values, mask) in enumerate(zip(maps, masks, strict=True)):
            if not np.isfinite(values).all():
                name = names[place] if names else f"map {place}"
                raise Failure(f"{name}: the anomaly map holds NaN or infinity; wanted numbers")
            own = None if valid is None else valid[place]
            anomalous = self._add(values, mask, own)
            self._labels.append(bool(anomalous if labels is None else labels[place]))
            if highest is not None:
                self._highest.append(float(highest[place]))
            else:
                self._highest.append(float(values.max() if own is None else values.max(where=own, initial=-math.inf)))

    def scores(self, aupro: Aupro = "exact") -> Scores:
        """The seven scores of all maps so far, NaN where undefined.

        Args:
            aupro: "exact" ends at FPR 0.3, interpolated; "200 thresholds" is the published evaluator's.
        """
        highest, labels = np.array(self._highest, np.float32), np.array(self._labels, np.bool_)
        keys = to_keys(highest)
        normal = Blocks(max(1, keys.size))
        normal.add(keys[~labels])
        images = totals(normal, np.sort(pack(keys[labels])))
        pixels = totals(self._normal, self._sorted_anomalous())
        pro = self._sampled_aupro() if aupro == "200 thresholds" else min(pixels.overlap / max(1, self._regions), 1.0)
        return Scores(images.auroc, images.ap, images.f1max, pixels.auroc, pixels.ap, pixels.f1max, pro)

    def curve(self, points: int = 256) -> tuple[npt.NDArray[np.float64], ...]:
        """Points of the pixels' ROC and PR curves, evenly spread in recall: FPR, recall and precision, (M,) each.

        Thresholds are anomalous pixels' scores from the highest down; empty without both kinds of pixels.
        """
        anomalous = self._sorted_anomalous()
        if not anomalous.size or not self._normal.size:
            return np.zeros(0), np.zeros(0), np.zeros(0)
        places = np.unique(np.linspace(0, anomalous.size - 1, points).round().astype(np.int64))
        keys = np.unique(keys_of(anomalous[places]))[::-1]
        above, level = self._normal.above_and_level(keys)
        true = anomalous.size - np.searchsorted(anomalous, keys.astype(np.uint64) << np.uint64(32))
        false = above + level
        return false / self._normal.size, true / anomalous.size, true / (true + false)

    @property
    def images(self) -> tuple[Maps, npt.NDArray[np.bool_]]:
        """The score float32 (N,) and label bool (N,) of each image, in the order they were added."""
        return np.array(self._highest, np.float32), np.array(self._labels, np.bool_)

    def _add(self, values: Maps, mask: Masks, valid: Masks | None) -> bool:
        """Count one map; return whether its mask has a valid pixel."""
        keys = to_keys(values)
        if valid is None:
            self._normal.add(keys[~mask])
        else:
            self._normal.add(keys[valid & ~mask])
            mask = mask & valid
        anomalous = bool(mask.any())
        if anomalous:
            count, regions, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
            sizes = stats[:, cv2.CC_STAT_AREA].astype(np.uint64)
            self._in_order = False
            self._anomalous.append(pack(keys[mask], sizes[regions[mask]]))
            self._regions += count - 1  # OpenCV counts the background
        return anomalous

    def _sorted_anomalous(self) -> npt.NDArray[np.uint64]:
        """All anomalous pixels as one ascending array, which is kept in place of its parts."""
        if not self._in_order:
            self._anomalous = [np.concatenate([np.zeros(0, np.uint64), *self._anomalous])]
            self._anomalous[0].sort()
            self._in_order = True
        return self._anomalous[0]

    def _sampled_aupro(self) -> float:
        """AUPRO as the published evaluator has it: 200 even thresholds, and the FPR left of 0.3 stretched to [0, 1].

        NaN where fewer than two thresholds, or only one FPR, are left of 0.3; a constant map has none.
        """
        anomalous, normal = self._sorted_anomalous(), self._normal
        if not anomalous.size or not normal.size:
            return math.nan
        low, high = normal.lowest_and_highest()
        first, last = keys_of(anomalous[[0, -1]]).tolist()
        ends = to_scores(np.array([min(low, first), max(high, last)], np.uint32))
        start, end = ends.astype(np.float64)
        thresholds = start + np.arange(STEPS) * (end - start) / STEPS
        # A float32 lies above a float64 threshold if and only if it lies above the float32 next below that.
        rounded = thresholds.astype(np.float32)
        keys = to_keys(np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded))
        fpr = normal.above_and_level(keys)[0] / normal.size
        places = np.searchsorted(anomalous, (keys.astype(np.uint64) + np.uint64(1)) << np.uint64(32))
        between = [summed_overlap(anomalous[a:b]) for a, b in zip(places, [*places[1:], anomalous.size], strict=True)]
        overlap = np.cumsum(between[::-1])[::-1] / self._regions
        kept = fpr < FPR_LIMIT
        if not kept.any() or np.ptp(fpr[kept]) == 0:
            return math.nan
        stretched = (fpr[kept] - fpr[kept].min()) / np.ptp(fpr[kept])
        heights = overlap[kept]  # FPR falls as thresholds rise
        return float(np.sum((stretched[:-1] - stretched[1:]) * (heights[:-1] + heights[1:])) / 2)
