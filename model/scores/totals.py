"""Areas under curves, summed up without drawing them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.scores.blocks import Blocks
from model.scores.keys import keys_of, sizes_of

FPR_LIMIT = 0.3  # of AUPRO (Bergmann et al., MVTec AD)
PIECE = 1 << 22  # items at a time


@dataclass(frozen=True)
class Totals:
    """`overlap` is AUPRO times the number of regions."""

    auroc: float
    ap: float
    f1max: float
    overlap: float


def totals(normal: Blocks, anomalous: npt.NDArray[np.uint64]) -> Totals:
    """The scores from the normal items and `anomalous`, ascending, packed; NaN without both.

    Every distinct score v of t anomalous items, with `above` normal items above it and `level` ones equal to it, adds
    its own part to each area, so no curve is ever drawn.
    """
    false, true = normal.size, anomalous.size
    if not false or not true:
        return Totals(*[math.nan] * 4)
    limit = FPR_LIMIT * false
    wins = ap = f1max = overlap = 0.0
    flagged = 0  # anomalous items above the piece
    for piece in _from_the_top(anomalous):
        packed = piece[::-1]
        keys = keys_of(packed)
        first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))  # of each tie
        ties = np.diff(np.append(first, keys.size))
        above, level = (counts[::-1] for counts in normal.above_and_level(keys[first][::-1]))
        hits = flagged + np.cumsum(ties)
        seen = hits + above + level
        wins += float(np.sum(ties * (false - above - level / 2)))
        ap += float(np.sum(ties * (hits / seen)))
        f1max = max(f1max, float(np.max(2 * hits / (seen + true))))
        weights = np.add.reduceat(1 / sizes_of(packed), first)
        overlap += float(np.sum(weights * _area_under_ramp(above, level, limit)))
        flagged += keys.size
    # Sums of many rounded shares may end a hair above 1.
    return Totals(min(wins / (false * true), 1.0), min(ap / true, 1.0), f1max, overlap / limit)


def _area_under_ramp(
    start: npt.NDArray[np.int64], length: npt.NDArray[np.int64], limit: float
) -> npt.NDArray[np.float64]:
    """The area up to `limit` under what is 0 until `start`, rises to 1 over `length` and stays there."""
    risen = np.clip(limit - start, 0, length)
    area: npt.NDArray[np.float64] = risen**2 / np.maximum(2 * length, 1) + np.maximum(limit - start - length, 0)
    return area


def _from_the_top(packed: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.uint64]]:
    """Pieces of an ascending array, the highest first; no tie is parted."""
    end = packed.size
    while end:
        lowest = packed[max(0, end - PIECE)] >> np.uint64(32) << np.uint64(32)
        start = int(np.searchsorted(packed, lowest))
        yield packed[start:end]
        end = start


def summed_overlap(packed: npt.NDArray[np.uint64]) -> float:
    """The sum of shares that items have in their regions."""
    return float(sum(np.sum(1 / sizes_of(packed[at : at + PIECE])) for at in range(0, packed.size, PIECE)))
