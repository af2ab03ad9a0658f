"""What was read of a store's shards, kept on this machine up to a size, so that the next epoch need not fetch it again.

    .work/blocks/<sha256 of the shard>-<array>-<first byte>-<end>

Every epoch reads all of a data set in another order. Of one twice as large as the cache, 15 % would be found if what
was read longest ago made room for what comes now, as caches have it. Here what is there stays, as long as its data set
is read, and half is found.

Who reads proves what is kept, by the checksums that lie in it: a file that was cut short is fetched again.
"""

import re
import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from configs.errors import Failure

OURS = re.compile(r"([0-9a-f]{64})-.+")  # other files of the folder are let alone


@dataclass(frozen=True)
class Kept:
    """A file of a cache."""

    name: str
    shard: str  # its digest
    size: int
    written: float  # when


class Cache:
    """Byte ranges of shards in a local folder; threads may share one.

    Args:
        folder: where they are kept; made if it is not there.
        limit: their size in bytes, of all processes that share the folder. One below what is there keeps nothing new.
        shards: digests of the shards that are read now. What is kept of others makes room for them, oldest first.
        processes: how many share the folder; each adds at most its part of what is left of the limit.

    Raises:
        Failure: the folder cannot be made or listed.
    """

    def __init__(self, folder: Path, limit: int, shards: Collection[str], processes: int = 1) -> None:
        self.folder = folder
        self._lock = Lock()
        self._keeps = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
            there = kept_in(folder)
        except OSError as error:
            raise Failure(f"{folder}: cannot be used ({error}); mend it, or set train.cache_gb to 0") from None
        self._sizes = {found.name: found.size for found in there if found.shard in shards}
        self._others = [found for found in there if found.shard not in shards]
        self._room = (limit - sum(found.size for found in there)) // processes

    def get(self, name: str) -> bytes | None:
        """What is kept under a name; None: nothing that can be read."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return None

    def put(self, name: str, data: bytes) -> None:
        """Keep bytes under a name, `<digest of the shard>-..`, in place of what is there, if there is room.

        Where that fails, as on a full disk, it says so once, and nothing more is kept: all can be fetched again.
        """
        try:
            if self._keeps and self._makes_room(name, len(data)):
                self.folder.mkdir(parents=True, exist_ok=True)  # it may be deleted at any time
                (self.folder / name).write_bytes(data)
        except OSError as error:
            if self._keeps:
                print(f"{self.folder}: cannot be written ({error}); nothing more is kept there", file=sys.stderr)
            self._keeps = False

    def _makes_room(self, name: str, size: int) -> bool:
        """Count a file in, if there is or can be made room for it."""
        with self._lock:
            added = size - self._sizes.get(name, 0)
            if added > self._room + sum(other.size for other in self._others):
                return False
            while added > self._room and self._others:
                other = self._others.pop(0)
                with suppress(FileNotFoundError):  # then it is no room that this process made
                    (self.folder / other.name).unlink()
                    self._room += other.size
            if added > self._room:
                return False
            self._room -= added
            self._sizes[name] = size
            return True


def kept_in(folder: Path) -> list[Kept]:
    """The files of a folder that a cache wrote, the oldest first."""
    found = []
    for file in folder.iterdir():
        ours = OURS.fullmatch(file.name)
        if ours:
            with suppress(FileNotFoundError):  # another process has just made room
                stat = file.stat()
                found.append(Kept(file.name, ours[1], stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda kept: (kept.written, kept.name))
