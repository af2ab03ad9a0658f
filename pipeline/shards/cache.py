"""What was read of a store's shards, kept on this machine up to a size, so that the next epoch need not fetch it again.

    .work/blocks/<sha256 of the shard>-<array>-<first byte>-<end>   the bytes, and their CRC32C

Every epoch reads all of a data set in another order. Of one twice as large as the cache, 15 % would be found if what
was read longest ago made room for what comes now, as caches have it. Here what is there stays, as long as its data set
is read, and half is found.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from threading import Lock

import google_crc32c

from configs.errors import Failure

CRC_BYTES = 4


class Cache:
    """Byte ranges of shards in a local folder; threads and processes may share one.

    Args:
        folder: where they are kept; made if it is not there.
        limit: its size in bytes. Processes that begin together may each add what was missing to it.
        shards: digests of the shards that are read now. What is kept of others makes room for them, oldest first.
    """

    def __init__(self, folder: Path, limit: int, shards: Collection[str]) -> None:
        self.folder = folder
        self._limit = limit
        folder.mkdir(parents=True, exist_ok=True)
        there = [(file.stat().st_mtime, file.stat().st_size, file) for file in folder.iterdir()]
        self._held = sum(size for _, size, _ in there)
        self._others = sorted((found for found in there if found[2].name.split("-")[0] not in shards), reverse=True)
        self._lock = Lock()

    def read(self, shard: str, name: str, fetch: Callable[[], bytes]) -> bytes:
        """Bytes of a shard: those kept under `name`, or what `fetch` reads.

        Raises:
            Failure: they cannot be kept.
        """
        place = self.folder / f"{shard}-{name}"
        kept = b""
        with suppress(FileNotFoundError):
            kept = place.read_bytes()
        data, crc = kept[:-CRC_BYTES], kept[-CRC_BYTES:]
        if crc and _crc(data) == crc:
            return data
        data = fetch()
        if self._makes_room(len(data) + CRC_BYTES):
            try:
                place.write_bytes(data + _crc(data))  # cut short, or half written by another process, it is not read
            except OSError as error:
                raise Failure(f"{place}: cannot be written ({error}); make room, or lower train.cache_gb") from None
        return data

    def _makes_room(self, size: int) -> bool:
        """Count a file of `size` bytes in, if there is or can be made room for it."""
        with self._lock:
            while self._others and self._held + size > self._limit:
                _, freed, other = self._others.pop()
                other.unlink(missing_ok=True)
                self._held -= freed
            fits = self._held + size <= self._limit
            self._held += size if fits else 0
            return fits


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(CRC_BYTES, "little")
