"""Counting how many of very many numbers lie above others, in bounded memory."""

import mmap
import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from configs.errors import Failure
from model.scores.keys import Keys


class Blocks:
    """Numbers that are only counted: one block of them in memory, full ones sorted into a temporary file."""

    def __init__(self, block: int) -> None:
        self._block = np.empty(max(1, block), np.uint32)  # memory that is not written yet takes no room
        self._filled = 0
        self._in_order = True
        self._full: list[mmap.mmap] = []

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self._full) * self._block.size + self._filled

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
        blocks = [block for block in self._sorted() if block.size]
        return min(int(block[0]) for block in blocks), max(int(block[-1]) for block in blocks)

    def _sorted(self) -> Iterator[Keys]:
        for stored in self._full:
            yield np.frombuffer(stored, np.uint32)
            stored.madvise(mmap.MADV_DONTNEED)  # what was read is in the file; it need not stay in memory
        filled = self._block[: self._filled]
        if not self._in_order:
            filled.sort()
            self._in_order = True
        yield filled

    def _put_away(self) -> None:
        self._block.sort()
        try:
            # Without a name from the start, the file is gone when nothing maps it any more.
            with tempfile.TemporaryFile() as file:
                file.write(self._block.data)
                file.flush()
                self._full.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise Failure(
                f"{tempfile.gettempdir()}: {error.strerror} for {self._block.nbytes} bytes of sorted pixels; wanted 4"
                " bytes for each normal pixel of a class; name a larger folder in the environment variable TMPDIR"
            ) from None
        self._filled = 0
