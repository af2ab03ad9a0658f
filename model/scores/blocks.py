"""Counting how many of very many numbers lie above others, in bounded memory.

What exceeds one block of memory lies in one temporary file without a name, 4 bytes a number, in the folder that the
environment variable TMPDIR names. Where that is kept in memory (tmpfs), memory is not bounded.
"""

import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import Failure
from model.scores.keys import Keys


class Blocks:
    """Numbers that are only counted: one block of them in memory, full ones sorted into one temporary file."""

    def __init__(self, block: int) -> None:
        self._block = np.empty(max(1, block), np.uint32)  # memory that is not written yet takes no room
        self._filled = 0
        self._in_order = True
        self._full = 0  # blocks in the file
        self._file: Any = None  # the file, once there is one

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self._full * self._block.size + self._filled

    def add(self, keys: Keys) -> None:
        """Count `keys` (M,), in any order.

        Raises:
            Failure: the temporary file cannot be written.
        """
        while keys.size:
            some = keys[: self._block.size - self._filled]
            self._block[self._filled : self._filled + some.size] = some
            self._filled += some.size
            self._in_order = False
            keys = keys[some.size :]
            if keys.size:
                self._put_away()

    def above_and_level(self, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many numbers lie above each of `keys` (M,), and how many are equal to it; quickest if `keys` ascend."""
        above, level = np.zeros(keys.size, np.int64), np.zeros(keys.size, np.int64)
        for block in self._sorted():
            right = np.searchsorted(block, keys, side="right")
            above += block.size - right
            level += right - np.searchsorted(block, keys, side="left")
        return above, level

    def lowest_and_highest(self) -> tuple[int, int]:
        """Of all numbers; there must be some."""
        ends = [(int(block[0]), int(block[-1])) for block in self._sorted() if block.size]
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _sorted(self) -> Iterator[Keys]:
        """The blocks one by one: each is mapped while it is looked at, so that few descriptors are open at a time."""
        if self._file is not None:
            for start in range(0, self._full * self._block.nbytes, self._block.nbytes):
                yield np.asarray(np.memmap(self._file, np.uint32, "r", start, self._block.shape))
        filled = self._block[: self._filled]
        if not self._in_order:
            filled.sort()
            self._in_order = True
        yield filled

    def _put_away(self) -> None:
        self._block.sort()
        try:
            if self._file is None:
                # Without a buffer, which would fail once more when it is thrown away.
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # it is closed with this object
                weakref.finalize(self, self._file.close)
            left = self._block.view(np.uint8).data
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise Failure(
                f"{tempfile.gettempdir()}: {error.strerror} for {(self._full + 1) * self._block.nbytes} bytes in all of"
                " one method's sorted pixels; wanted 4 bytes for each normal pixel of a category, times methods and"
                " draws of prompts; name a larger folder in the environment variable TMPDIR"
            ) from None
        self._full += 1
        self._filled = 0
