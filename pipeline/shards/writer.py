"""Writing a shard pair by pair: memory holds one pair whatever the shard's size, and the shard appears whole or not.

The pixels of an array are one file of chunks (`pipeline/shards/chunks.py`); its metadata is written by zarr-python.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import ZstdCodec

from pipeline.arrays import Image, Mask
from pipeline.shards.chunks import CHECKSUM, LEVEL, ChunkWriter
from pipeline.shards.format import (
    ATTRIBUTES,
    FORMAT,
    FORMAT_VERSION,
    KINDS,
    RECORDS,
    ShardEntry,
    combined_digest,
    digest_of_records,
    entry_of,
    shard_path,
)
from pipeline.shards.store import flush, upload

COLUMNS = {"kind": np.uint8, "image_id": np.int64, "donor_id": np.int64}  # of numbers, one for each pair


@dataclass(frozen=True)
class NewPair:
    """One pair on its way into a shard."""

    original: Image
    changed: Image
    mask: Mask
    kind: int  # place in KINDS
    image_id: int
    donor_id: int
    record: Mapping[str, Any]  # JSON-like; regenerates the pair
    extra: Mapping[str, Mask] = field(default_factory=dict)  # further masks, stored as arrays of these names


def write_shard(
    root: Path,
    name: str,
    size: tuple[int, int],
    pairs: Iterable[NewPair],
    attributes: Mapping[str, Any],
    outcomes: Mapping[str, int],
    store: str | None = None,
) -> ShardEntry:
    """Write the pairs as they come into a shard aside, then rename it into place, or upload it whole.

    Args:
        root: folder of the shard, or of what is written aside.
        name: of the shard there.
        size: height and width of every pair in pixels.
        pairs: taken one at a time, those of an image one after another; what makes them may still add to `outcomes`,
            which is read after the last.
        attributes: kept in the shard; they must hold `split` and `fingerprint`.
        outcomes: what was drawn again or could not be made, and why -> how often.
        store: URL that the shard goes to instead.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.partial-", dir=root) as aside:
        made = Path(aside) / "shard.zarr"
        entry = entry_of(name, _write_group(made, size, pairs, attributes, outcomes))
        if store is not None:
            upload(made, f"{store}/{name}.zarr", last=ATTRIBUTES)
            return entry
        for path in (made, *made.rglob("*")):
            flush(path)
        target = shard_path(root, name)
        if target.exists():
            target.rename(Path(aside) / "replaced.zarr")
        made.rename(target)
        flush(root)
    return entry


def _write_group(
    path: Path,
    size: tuple[int, int],
    pairs: Iterable[NewPair],
    attributes: Mapping[str, Any],
    outcomes: Mapping[str, int],
) -> dict[str, Any]:
    """Write all of a shard; what its entry says but its name."""
    group = zarr.create_group(path)
    columns: dict[str, list[int]] = {column: [] for column in COLUMNS}
    records: list[Mapping[str, Any]] = []
    different: set[tuple[bytes, bytes]] = set()
    with _PixelArrays(path) as pixels:
        for new in pairs:
            assert new.mask.shape == size, f"a pair of {new.mask.shape} in a shard of {size}"
            stored = pixels.append("pair", np.stack([new.original, new.changed])), pixels.append("mask", new.mask)
            different.add(stored)
            for extra, mask in new.extra.items():
                pixels.append(extra, mask)
            for column, values in columns.items():
                values.append(getattr(new, column))
            records.append(new.record)
        digests = pixels.finish(group, {"pair": (2, *size, 3), "mask": size})
    for column, dtype in COLUMNS.items():
        _write_column(group, column, np.array(columns[column], dtype))
    digests |= {RECORDS: digest_of_records(records)}
    digests |= _digests_of_small_files(path, digests)
    count = Counter(columns["kind"])
    entry = {
        "split": attributes["split"],
        "pairs": len(records),
        "distinct": len(different),
        "per_image": [len(list(own)) for _, own in groupby(columns["image_id"])],
        "kinds": {kind: count[number] for number, kind in enumerate(KINDS)},
        "outcomes": dict(sorted(outcomes.items())),
        "fingerprint": attributes["fingerprint"],
        "sha256": combined_digest(digests),
    }
    group.attrs.put(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            **attributes,
            RECORDS: records,
            "digests": digests,
            "entry": entry,
        }
    )
    return entry


class _PixelArrays:
    """The arrays with one compressed chunk per pair, each a file that grows."""

    def __init__(self, group: Path) -> None:
        self._group = group
        self._files: dict[str, ChunkWriter] = {}

    def __enter__(self) -> "_PixelArrays":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def append(self, name: str, values: npt.NDArray[np.uint8 | np.bool_]) -> bytes:
        """Add the chunk of one pair; a digest that equal chunks share."""
        if name not in self._files:
            self._files[name] = ChunkWriter(self._group / name, values.shape)
        return self._files[name].append(values)

    def finish(self, group: zarr.Group, wanted: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """Close the files and write their arrays' metadata; the sha256 of each file, by its path in the group.

        The `wanted` arrays, with their shape for one pair, are made even without a pair.
        """
        digests = {}
        shapes = {**wanted, **{name: file.shape for name, file in self._files.items()}}
        counts = {file.count for file in self._files.values()} or {0}
        assert len(counts) == 1, f"every pair has the same arrays, found {self._files.keys()} of {counts} pairs"
        (count,) = counts
        for name, shape in shapes.items():
            group.create_array(
                name,
                shape=(count, *shape),
                dtype=np.uint8,
                chunks=(1, *shape),
                shards=(max(count, 1), *shape),
                compressors=[ZstdCodec(level=LEVEL, checksum=CHECKSUM)],
                fill_value=0,
            )
        for file in self._files.values():
            digests[file.path.relative_to(self._group).as_posix()] = file.finish()
        return digests


def _write_column(group: zarr.Group, name: str, values: npt.NDArray[Any]) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(max(len(values), 1),),
        compressors=[ZstdCodec(level=LEVEL, checksum=CHECKSUM)],
        fill_value=0,
    )
    array[...] = values


def _digests_of_small_files(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return {
        name: hashlib.sha256((path / name).read_bytes()).hexdigest()
        for name in names
        if name not in known and name != ATTRIBUTES
    }
