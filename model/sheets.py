"""Which queries and pairs a picture sheet shows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.layouts import GOOD
from pipeline.arrays import Image


def take_turns(groups: Sequence[str], count: int) -> list[int]:
    """Choose `count` places, fewer if there are not as many: the groups take turns, normal images first.

    Within a group the choice is random but always the same, since neighbours are often pairs of one photograph.
    """
    seen: dict[str, int] = {}
    turns = []
    for place in np.random.default_rng(0).permutation(len(groups)).tolist():
        group = groups[place]
        seen[group] = seen.get(group, 0) + 1
        turns.append((seen[group], group != GOOD, place))
    return sorted(place for _, _, place in sorted(turns)[:count])


def to_image(picture: npt.NDArray[np.float32]) -> Image:
    """Float32 (H, W, 3) in [0, 1] as RGB uint8."""
    return (picture * 255).round().astype(np.uint8)
