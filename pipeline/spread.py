"""Some of many, evenly spread."""

import numpy as np


def spread(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, from the first to the last."""
    return [int(place) for place in np.linspace(0, count - 1, min(count, most)).round()]
