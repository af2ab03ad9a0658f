"""Scores as whole numbers in the same order, which sort fast; and with the size of a region beside them."""

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint32]  # unsigned integers in the order of the float32 scores they stand for


def pack(keys: Keys, sizes: npt.NDArray[np.uint64] | None = None) -> npt.NDArray[np.uint64]:
    """One number an item that sorts by its key: the key, and below it the size of its region (1 without any)."""
    packed = keys.astype(np.uint64) << np.uint64(32)
    packed |= np.uint64(1) if sizes is None else sizes
    return packed


def keys_of(packed: npt.NDArray[np.uint64]) -> Keys:
    """The keys of packed items."""
    return (packed >> np.uint64(32)).astype(np.uint32)


def sizes_of(packed: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """The sizes of packed items' regions."""
    return packed.astype(np.uint32)  # keeps the lower half


def to_keys(scores: npt.NDArray[np.float32]) -> Keys:
    """Unsigned integers in the order of the float32 scores (an IEEE 754 float is sign and magnitude)."""
    bits = (scores + np.float32(0)).view(np.uint32)  # adding zero makes -0.0 equal to 0.0
    return np.where(bits >> 31, ~bits, bits ^ np.uint32(0x80000000))


def to_scores(keys: Keys) -> npt.NDArray[np.float32]:
    """The scores that `to_keys` was given."""
    return np.where(keys >> 31, keys ^ np.uint32(0x80000000), ~keys).view(np.float32)
