"""Numbers that are the same on every processor: numpy's own sines and exponentials differ in their last digits."""

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

DIGITS = 9
SINES = 1 << 12
_SINE = np.array([round(math.sin(2 * math.pi * step / SINES), DIGITS) for step in range(SINES)], np.float32)


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, high)."""
    return rounded(rng.uniform(low, high))


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw from [low, high), uniformly in the logarithm: half as large is as likely as twice as large."""
    return rounded(math.exp(rng.uniform(math.log(low), math.log(high))))


def rounded(number: float) -> float:
    """A drawn number as a record keeps it."""
    return round(float(number), DIGITS)


def sine(turns: npt.NDArray[np.floating[npt.NBitBase]]) -> Floats:
    """The sine of angles in turns, to about a thousandth; float32, of their shape."""
    return np.asarray(_SINE[np.floor(turns * np.float32(SINES)).astype(np.int64) % SINES], np.float32)


def cosine(turns: npt.NDArray[np.floating[npt.NBitBase]]) -> Floats:
    """The cosine; as `sine`."""
    return sine(turns + np.float32(0.25))


def bell(distance: npt.NDArray[np.floating[npt.NBitBase]]) -> Floats:
    """exp(-distance^2 / 2), float32, of their shape."""
    return np.asarray(np.round(np.exp(-0.5 * np.square(distance, dtype=np.float64)), DIGITS), np.float32)
