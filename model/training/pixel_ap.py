"""Pixel AP over all maps of a validation, of which few pixels are kept: thousands of maps fit in memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from configs.errors import Failure
from model.scores import average_precision

SCORED_SIDE_PX = 64  # pixel AP pools about this many rows and columns a map


@dataclass(frozen=True)
class Thinned:
    """Some pixels of a batch of maps, evenly spread."""

    scores: npt.NDArray[np.float32]  # (B, h, w)
    labels: npt.NDArray[np.bool_]  # (B, h, w)
    valid: npt.NDArray[np.bool_]  # (B, h, w)
    kind: npt.NDArray[np.int64]  # (B,)

    def of(self, kinds: Sequence[int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Scores and labels of the valid pixels of pairs of these kinds."""
        kept = self.valid & np.isin(self.kind, list(kinds))[:, None, None]
        return self.scores[kept], self.labels[kept]


def thinned(scores: Tensor, mask: Tensor, valid: Tensor, kind: Tensor) -> Thinned:
    """Thin maps, masks and what counts of them, each (B, 1, H, W), of pairs of kinds (B,)."""
    every = max(1, scores.shape[-1] // SCORED_SIDE_PX)
    thin = (slice(None), 0, slice(every // 2, None, every), slice(every // 2, None, every))
    return Thinned(
        scores=scores[thin].float().cpu().numpy(),
        labels=mask[thin].cpu().numpy(),
        valid=valid[thin].cpu().numpy(),
        kind=kind.cpu().numpy(),
    )


def pixel_aps(batches: Sequence[Thinned], kinds: Sequence[str]) -> dict[str, float]:
    """Pixel AP of all pairs, and of each of `kinds`, by number, that has changed pixels, as a point of the curves.

    Raises:
        Failure: no pair has a changed pixel.
    """
    every = _pixel_ap(batches, range(len(kinds)))
    if math.isnan(every):
        raise Failure("train: no changed pixel in the val pairs, so nothing to select by; raise index.val_share")
    point = {"val/pixel_ap/all": every}
    for kind, name in enumerate(kinds):
        if not math.isnan(score := _pixel_ap(batches, [kind])):
            point[f"val/pixel_ap/{name}"] = score
    return point


def _pixel_ap(batches: Sequence[Thinned], kinds: Sequence[int]) -> float:
    """Average precision over the pixels of all pairs of these kinds; NaN where none of them is changed."""
    scores, labels = zip(*(batch.of(kinds) for batch in batches), strict=True)
    return average_precision(np.concatenate(scores), np.concatenate(labels))
