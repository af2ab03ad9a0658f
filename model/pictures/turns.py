"""Which queries and pairs a picture sheet shows."""

from collections.abc import Sequence

import numpy as np


def take_turns(groups: Sequence[str], count: int, first: str | None = None) -> list[int]:
    """Choose `count` places, fewer if there are not as many: the groups take turns, in each turn group `first` first.

    Within a group the choice is random but always the same, since neighbours are often pairs of one photograph.
    """
    seen: dict[str, int] = {}
    turns = []
    for place in np.random.default_rng(0).permutation(len(groups)).tolist():
        group = groups[place]
        seen[group] = seen.get(group, 0) + 1
        turns.append((seen[group], group != first, place))
    return sorted(place for _, _, place in sorted(turns)[:count])
