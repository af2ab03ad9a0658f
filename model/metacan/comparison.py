"""What is found in queries: both branches' scores and maps, and the one score that is their mean (Eq. 3, 4 and 8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Literal, get_args

import torch
from torch import Tensor

from configs.errors import BadRequest
from model.metacan.detector import Detect, difference
from model.metacan.discriminator import anomaly_maps

Term = Literal["low", "mid", "high", "text"]
TERMS: tuple[Term, ...] = get_args(Term)


@dataclass(frozen=True)
class Comparison:
    """What is found in B queries: float32, all in [0, 1], higher is more anomalous."""

    score: Tensor  # (B,), the mean of the terms that count (Eq. 8)
    low: Tensor  # (B,), the highest of the low level's map (Eq. 3), as the next two
    mid: Tensor
    high: Tensor
    text: Tensor | None  # (B,), Eq. 7; None without a detector
    maps: Tensor  # (B, 3, patches), of the three levels (Eq. 2)
    text_map: Tensor | None  # (B, patches), Eq. 6

    @property
    def squares(self) -> Tensor:
        """The maps as pictures, (B, 3, rows, columns)."""
        side = isqrt(self.maps.shape[2])
        return self.maps.view(*self.maps.shape[:2], side, side)


def compare_features(prompt: Tensor, query: Tensor, detect: Detect | None, terms: Sequence[Term]) -> Comparison:
    """Compare a query's features with its references'; see `MetaCAN.compare`.

    Args:
        prompt: float32 (k, 3, patches, width).
        query: float32 (B, 3, patches, width).
        detect: the detector, or None to do without.
        terms: what the score is the mean of.

    Raises:
        BadRequest: shapes do not fit together, or there is no reference.
    """
    if prompt.ndim != 4 or query.ndim != 4 or prompt.shape[1:] != query.shape[1:] or not len(prompt):
        raise BadRequest(
            f"MetaCAN: prompt is {tuple(prompt.shape)}, query is {tuple(query.shape)}; wanted features of one reference"
            " or more and of queries, as encode gives them"
        )
    maps = anomaly_maps(prompt, query)
    low, mid, high = maps.amax(dim=2).unbind(dim=1)
    scores = {"low": low, "mid": mid, "high": high}
    text_map = None
    if detect is not None:
        scores["text"], text_map = detect(difference(prompt, query))
    score = torch.stack([scores[term] for term in terms]).mean(dim=0)
    return Comparison(score, low, mid, high, scores.get("text"), maps, text_map)
