"""Numbers as records keep them: without the last digits, in which processors differ."""

import math

import numpy as np

DIGITS = 9


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, high)."""
    return rounded(rng.uniform(low, high))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, high), uniformly in the logarithm: half as large is as likely as twice as large."""
    return rounded(math.exp(rng.uniform(math.log(low), math.log(high))))


def rounded(number: float) -> float:
    """A drawn number as a record keeps it."""
    return round(float(number), DIGITS)
