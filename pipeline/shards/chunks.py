"""The file that holds an array's chunks, one per pair, written chunk by chunk; `chunk_reader.py` reads it.

It is a file of Zarr's sharding codec (https://zarr-specs.readthedocs.io/en/latest/v3/codecs/sharding-indexed/): the
compressed chunks in order, then for each its offset and length as little-endian uint64, then the CRC32C of these.
zarr-python writes such a file only from an array that is in memory as a whole.
"""

import hashlib
from pathlib import Path

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

# Level 3, zstd's own choice, takes twice as long for 3 % fewer bytes. The checksum makes a reader of a single pair
# notice a flipped bit: only `--verify` reads the whole shard's digest.
LEVEL, CHECKSUM = 2, True
CRC_BYTES = 4
MISSING = 2**64 - 1  # offset and length of a chunk that is not there and reads as zeros


class ChunkWriter:
    """The chunks of a new array, a file that grows; what it holds without `finish` cannot be read.

    Args:
        array: folder of the array.
        shape: of every chunk.
    """

    def __init__(self, array: Path, shape: tuple[int, ...]) -> None:
        self.path, self.shape = array / place_in_array(shape), shape
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
        self._write(index + crc_of(index))
        self.close()
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, data: bytes) -> None:
        self._sha256.update(data)
        self._file.write(data)


def place_in_array(shape: tuple[int, ...]) -> str:
    """Where the file lies: the array is one chunk of chunks, at the origin of one axis more than a chunk has."""
    return "c/" + "/".join("0" * (1 + len(shape)))


def crc_of(index: bytes) -> bytes:
    """The CRC32C of an index, as it stands behind it."""
    return int(google_crc32c.value(index)).to_bytes(CRC_BYTES, "little")
