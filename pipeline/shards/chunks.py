"""The file that holds an array's chunks, one per pair: written chunk by chunk, and any run of them read at once.

It is a file of Zarr's sharding codec (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/): the
compressed chunks in order, then for each its offset and length as little-endian uint64, then the CRC32C of these.
zarr-python writes such a file only from an array that is in memory as a whole, and takes several times as long to find
a chunk as zstd takes to decompress it.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from configs.errors import Failure
from pipeline.shards.store import Where, child, filesystem

# Level 3, zstd's own choice, takes twice as long for 3 % fewer bytes. The checksum makes a reader of a single pair
# notice a flipped bit: only `--verify` reads the whole shard's digest.
LEVEL, CHECKSUM = 2, True
CRC_BYTES = 4
MISSING = 2**64 - 1  # offset and length of a chunk that is not there and reads as zeros
WHAT_TO_DO = "delete its shard and run `dvc repro`"

Values = npt.NDArray[np.uint8]
Fetch = Callable[[], bytes]


class ChunkWriter:
    """The chunks of a new array, a file that grows; what it holds without `finish` cannot be read.

    Args:
        array: folder of the array.
        shape: of every chunk.
    """

    def __init__(self, array: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = array / _place_in_array(shape), shape
        self.path.parent.mkdir(parents=True)
        self._file = self.path.open("wb")
        self._sha256 = hashlib.sha256()
        self._codec = Zstd(level=LEVEL, checksum=CHECKSUM)
        self._places: list[tuple[int, int]] = []  # offset and length of each
        self._end = 0

    @property
    def count(self) -> int:
        """Chunks so far."""
        return len(self._places)

    def append(self, values: npt.NDArray[np.uint8 | np.bool_]) -> bytes:
        """Add a chunk; bool is stored as 0 and 1. Returns a digest that equal chunks share."""
        assert values.shape == self.shape, f"{self.path.name}: {values.shape} among {self.shape}"
        assert values.dtype in (np.uint8, np.bool_)
        data = self._codec.encode(np.ascontiguousarray(values).view(np.uint8))
        self._places.append((self._end, len(data)))
        self._end += len(data)
        self._write(data)
        return hashlib.sha256(data).digest()

    def skip(self) -> None:
        """Leave a chunk out: it reads as zeros."""
        self._places.append((MISSING, MISSING))

    def finish(self) -> str:
        """Write the index and close; the hexadecimal sha256 of the file."""
        index = np.array(self._places, "<u8").reshape(-1, 2).tobytes()
        self._write(index + _crc(index))
        self.close()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._file.write(data)


class ChunkReader:
    """The chunks of a finished array.

    Args:
        array: folder or URL of the array.
        count: of the chunks in it.
        shape: of every chunk.
        through: asked for every range of bytes by its name, with what fetches it; None: all are fetched.

    Raises:
        Failure: it is not there, or not such a file.
    """

    def __init__(
        self,
        array: Where,
        count: int,
        shape: tuple[int, ...],
        through: Callable[[str, Fetch], bytes] | None = None,
    ) -> None:
        self._where, self._shape = child(array, _place_in_array(shape)), shape
        self._through = through
        self._files, self._path = filesystem(self._where)
        self._codec = Zstd(level=LEVEL, checksum=CHECKSUM)
        index_bytes = 16 * count + CRC_BYTES
        tail = self._bytes(-index_bytes, None)
        index, crc = tail[:-CRC_BYTES], tail[-CRC_BYTES:]
        if len(tail) != index_bytes or _crc(index) != crc:
            raise Failure(f"{self._where}: found no index of {count} chunks at its end; {WHAT_TO_DO}")
        self._places = np.frombuffer(index, "<u8").reshape(count, 2)  # offset and length of each

    def read(self, first: int, stop: int) -> Values:
        """The chunks `first` to `stop` - 1, at least one, in one request; uint8 (stop - first, *shape).

        Raises:
            Failure: the file is gone, or bytes of it are not those that were written.
        """
        places = self._places[first:stop].tolist()
        there = [(offset, length) for offset, length in places if offset != MISSING]
        begin, end = (there[0][0], sum(there[-1])) if there else (0, 0)
        data = memoryview(self._bytes(begin, end) if there else b"")
        values = np.empty((len(places), *self._shape), np.uint8)
        for row, (offset, length) in enumerate(places):
            if offset == MISSING:
                values[row] = 0
            else:
                self._decode(first + row, data[offset - begin : offset - begin + length], values[row])
        return values

    def _bytes(self, start: int, stop: int | None) -> bytes:
        fetch = partial(self._fetch, start, stop)
        return fetch() if self._through is None else self._through(f"{start}-{stop}", fetch)

    def _fetch(self, start: int, stop: int | None) -> bytes:
        try:
            return bytes(self._files.cat_file(self._path, start=start, end=stop))
        except OSError as error:
            raise Failure(f"{self._where}: cannot be read ({error}); {WHAT_TO_DO}") from None

    def _decode(self, number: int, data: memoryview, values: Values) -> None:
        try:
            self._codec.decode(data, out=values)
        except (RuntimeError, ValueError) as error:
            raise Failure(f"{self._where}: chunk {number} cannot be read ({error}); {WHAT_TO_DO}") from None


def _place_in_array(shape: tuple[int, ...]) -> str:
    """Where the file lies: the array is one chunk of chunks, at the origin of one axis more than a chunk has."""
    return "c/" + "/".join("0" * (1 + len(shape)))


def _crc(index: bytes) -> bytes:
    return int(google_crc32c.value(index)).to_bytes(CRC_BYTES, "little")
