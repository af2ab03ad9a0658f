"""Writing a shard pair by pair: memory holds one pair whatever the shard's size, and the shard appears whole or not.

The pixels of an array are one file of chunks (`pipeline/shards/chunks.py`); its metadata is written by zarr-python.
"""

import hashlib
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    PAIRS,
    PAIRS_VERSION,
    RECORDS,
    ShardEntry,
    combined_digest,
    digest_of_records,
    entry_of,
    shard_path,
)
from pipeline.shards.store import flush, upload
from pipeline.steps import step

DIMENSIONS = {4: ("n", "side", "y", "x", "rgb"), 3: ("n", "y", "x", "rgb"), 2: ("n", "y", "x")}  # by those of a pair
COLUMNS = {  # a number a pair
    "kind": np.uint8,
    "group": np.uint16,
    "image_id": np.int64,
    "donor_id": np.int64,
    "prompt_is": np.uint8,
}


@dataclass(frozen=True)
class Form:
    """What all pairs of a shard have in common."""

    size: tuple[int, int]  # height and width in pixels
    kinds: Sequence[str]  # by their numbers
    groups: Sequence[str]  # by their numbers
    more: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # further arrays, uint8: shape for a pair


@dataclass(frozen=True)
class NewPair:
    """One pair on its way into a shard."""

    original: Image
    changed: Image
    mask: Mask
    kind: str
    group: str
    image_id: int
    donor_id: int
    record: Mapping[str, Any]  # JSON-like; regenerates the pair
    prompt_is: int = 0
    more: Mapping[str, Image | Mask] = field(default_factory=dict)  # for the further arrays; one left out is zeros


def write_shard(
    root: Path,
    name: str,
    form: Form,
    pairs: Iterable[NewPair],
    attributes: Mapping[str, Any],
    outcomes: Mapping[str, int],
    store: str | None = None,
) -> ShardEntry:
    """Write the pairs as they come into a shard aside, then rename it into place, or upload it whole.

    Args:
        root: folder of the shard, or of what is written aside.
        name: of the shard there.
        form: what all pairs have in common.
        pairs: taken one at a time, those of an image one after another; what makes them may still add to `outcomes`,
            which is read after the last.
        attributes: kept in the shard; they must hold `split` and `fingerprint`.
        outcomes: what was drawn again or could not be made, and why -> how often.
        store: URL that the shard goes to instead.
    """
    return write_whole(root, name, lambda made: _write_group(made, form, pairs, attributes, outcomes), store)


def write_whole(root: Path, name: str, write: Callable[[Path], dict[str, Any]], store: str | None) -> ShardEntry:
    """Have `write` make a shard aside and say what its entry does but its name; then rename it, or upload it whole."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}.partial-", dir=root) as aside:
        made = Path(aside) / "shard.zarr"
        entry = entry_of(name, write(made))
        if store is not None:
            with step("upload"):
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
    form: Form,
    pairs: Iterable[NewPair],
    attributes: Mapping[str, Any],
    outcomes: Mapping[str, int],
) -> dict[str, Any]:
    """Write all of a shard; what its entry says but its name."""
    group = zarr.create_group(path)
    columns: dict[str, list[int]] = {column: [] for column in COLUMNS}
    records: list[Mapping[str, Any]] = []
    different: set[tuple[bytes, ...]] = set()
    shapes = {"pair": (2, *form.size, 3), "mask": form.size, **form.more}
    numbers = {"kind": _numbered(form.kinds), "group": _numbered(form.groups)}
    with _PixelArrays(path, shapes) as pixels:
        for new in pairs:
            own = {"pair": np.stack([new.original, new.changed]), "mask": new.mask, **new.more}
            with step("compress and write"):
                different.add(pixels.append(own))
            for column, values in columns.items():
                value = getattr(new, column)
                values.append(numbers[column][value] if column in numbers else value)
            records.append(new.record)
        digests = pixels.finish(group)
    for column, dtype in COLUMNS.items():
        write_column(group, column, np.array(columns[column], dtype))
    digests |= {RECORDS: digest_of_records(records)}
    digests |= digests_of_files(path, digests)
    entry = {
        "split": attributes["split"],
        "pairs": len(records),
        "distinct": len(different),
        "per_image": [len(list(own)) for _, own in groupby(columns["image_id"])],
        "kinds": _counts(columns["kind"], numbers["kind"]),
        "groups": _counts(columns["group"], numbers["group"]),
        "outcomes": dict(sorted(outcomes.items())),
        "fingerprint": attributes["fingerprint"],
        "sha256": combined_digest(digests),
    }
    said = {"format": PAIRS, "format_version": PAIRS_VERSION, **attributes}
    finish_group(group, path, {**said, RECORDS: records, "digests": digests, "entry": entry})
    return entry


def _numbered(names: Sequence[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def _counts(column: Sequence[int], numbers: Mapping[str, int]) -> dict[str, int]:
    """How many of a column there are, by name."""
    count = Counter(column)
    return {name: count[number] for name, number in numbers.items()}


class _PixelArrays:
    """The arrays with one compressed chunk per pair, each a file that grows."""

    def __init__(self, group: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._group = group
        self._files = {name: ChunkWriter(group / name, shape) for name, shape in shapes.items()}

    def __enter__(self) -> "_PixelArrays":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()

    def append(self, pair: Mapping[str, npt.NDArray[np.uint8 | np.bool_]]) -> tuple[bytes, ...]:
        """Add the chunks of one pair; digests that equal pairs share."""
        assert pair.keys() <= self._files.keys(), f"arrays {pair.keys()} of {self._files.keys()}"
        for name in self._files.keys() - pair.keys():
            self._files[name].skip()
        return tuple(self._files[name].append(values) for name, values in sorted(pair.items()))

    def finish(self, group: zarr.Group) -> dict[str, str]:
        """Close the files and write their arrays' metadata; the sha256 of each file, by its path in the group."""
        digests = {}
        for name, file in self._files.items():
            shape, count = file.shape, file.count
            group.create_array(
                name,
                shape=(count, *shape),
                dtype=np.uint8,
                chunks=(1, *shape),
                shards=(max(count, 1), *shape),
                compressors=[ZstdCodec(level=LEVEL, checksum=CHECKSUM)],
                fill_value=0,
                dimension_names=DIMENSIONS[len(shape)],
            )
            digests[file.path.relative_to(self._group).as_posix()] = file.finish()
        return digests


def write_column(group: zarr.Group, name: str, values: npt.NDArray[Any]) -> None:
    """Write an array of a number a pair, in one chunk."""
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(max(len(values), 1),),
        compressors=[ZstdCodec(level=LEVEL, checksum=CHECKSUM)],
        fill_value=0,
        dimension_names=("n",),
    )
    array[...] = values


def finish_group(group: zarr.Group, path: Path, attributes: Mapping[str, Any]) -> None:
    """Write a group's attributes, with its arrays' metadata in the same file: a reader then need list no folder."""
    group.attrs.put(dict(attributes))
    with warnings.catch_warnings():  # that version 3 of the format does not know them yet: others read past them
        warnings.filterwarnings("ignore", "Consolidated metadata", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(path)


def digests_of_files(path: Path, known: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of each file of a shard that is not `known`, by its path in it."""
    names = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return {
        name: hashlib.sha256((path / name).read_bytes()).hexdigest()
        for name in names
        if name not in known and name != ATTRIBUTES
    }
