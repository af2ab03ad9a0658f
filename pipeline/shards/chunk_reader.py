"""Any run of an array's chunks, read with one request (`chunks.py` says how they lie).

zarr-python takes several times as long to find a chunk as zstd takes to decompress it, and asks a store for each chunk
by itself.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from configs.errors import Failure
from pipeline.shards.cache import Cache
from pipeline.shards.chunks import CHECKSUM, CRC_BYTES, LEVEL, MISSING, crc_of, place_in_array
from pipeline.shards.store import Where, child, filesystem, unreadable, what_to_do

INDEX = "index"  # of an array, among what is kept of it

Values = npt.NDArray[np.uint8]


class ChunkReader:
    """The chunks of a finished array.

    Args:
        array: folder or URL of the array.
        count: of the chunks in it.
        shape: of every chunk.
        cache: where what is read is kept, and looked for; None: nowhere.
        key: digest of the array's shard and name of the array, by which it is kept.

    Raises:
        Failure: it is not there, or not such a file.
    """

    def __init__(
        self, array: Where, count: int, shape: tuple[int, ...], cache: Cache | None = None, key: str = ""
    ) -> None:
        self._where, self._shape = child(array, place_in_array(shape)), shape
        self._files, self._path = filesystem(self._where)
        self._codec = Zstd(level=LEVEL, checksum=CHECKSUM)
        self._cache, self._key = cache, key
        size = 16 * count + CRC_BYTES
        tail = self._read_proved(INDEX, -size, None, lambda data: self._check_index(data, size))
        self._places = np.frombuffer(tail[:-CRC_BYTES], "<u8").reshape(count, 2)  # offset and length of each

    def read(self, first: int, stop: int, *, keep: bool = True) -> Values:
        """The chunks `first` to `stop` - 1, at least one, in one request; uint8 (stop - first, *shape).

        Args:
            first: of them.
            stop: one past the last.
            keep: whether the cache keeps them, to be found when the same run is read again.

        Raises:
            Failure: the file is gone, or bytes of it are not those that were written.
        """
        places = self._places[first:stop].tolist()
        values = np.zeros((len(places), *self._shape), np.uint8)
        there = [(row, *place) for row, place in enumerate(places) if place[0] != MISSING]
        if not there:
            return values
        begin, end = there[0][1], there[-1][1] + there[-1][2]

        def decode(data: bytes) -> None:
            view = memoryview(data)
            for row, offset, length in there:
                try:
                    self._codec.decode(view[offset - begin : offset - begin + length], out=values[row])
                except (RuntimeError, ValueError) as error:
                    raise Failure(
                        f"{self._where}: chunk {first + row} cannot be read ({error}); {what_to_do(self._where)}"
                    ) from None

        self._read_proved(f"{begin}-{end}" if keep else None, begin, end, decode)
        return values

    def _read_proved(self, name: str | None, start: int, stop: int | None, prove: Callable[[bytes], None]) -> bytes:
        """A range of the file's bytes that `prove` accepts, kept as `name`: what is kept and fails is fetched again."""
        if self._cache is None or name is None:
            data = self._fetch(start, stop)
            prove(data)
            return data
        kept = self._cache.get(f"{self._key}-{name}")
        if kept is not None:
            try:
                prove(kept)
            except Failure:
                pass
            else:
                return kept
        data = self._fetch(start, stop)
        prove(data)
        self._cache.put(f"{self._key}-{name}", data)
        return data

    def _fetch(self, start: int, stop: int | None) -> bytes:
        try:
            return bytes(self._files.cat_file(self._path, start=start, end=stop))
        except Exception as error:
            raise unreadable(self._where, error) from error

    def _check_index(self, data: bytes, size: int) -> None:
        if len(data) != size or crc_of(data[:-CRC_BYTES]) != data[-CRC_BYTES:]:
            count = (size - CRC_BYTES) // 16
            raise Failure(f"{self._where}: found no index of {count} chunks at its end; {what_to_do(self._where)}")
