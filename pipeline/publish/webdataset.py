"""WebDataset: a tar file a shard, the files of a pair one after another under its id.

391895-3.json  391895-3.original.webp  391895-3.changed.webp  391895-3.mask.png  [391895-3.prompt.webp]
"""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.publish.given import GivenPair, encode, suffix


def write_tar(path: Path, pairs: Iterable[GivenPair], form: str) -> None:
    """Write pairs as they come; the same pairs give the same bytes."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for pair in pairs:
            _add(tar, f"{pair.id}.json", pair.record)
            for name, picture in pair.pictures.items():
                _add(tar, f"{pair.id}.{name}.{suffix(name, form)}", encode(picture, form))


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of no user and no time
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))
