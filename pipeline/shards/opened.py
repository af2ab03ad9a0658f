"""Shards opened for reading: their attributes in memory, and their arrays as zarr-python reads them."""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from configs.errors import BadRequest, Failure
from pipeline.shards.format import (
    ARRAYS,
    ATTRIBUTES,
    FEATURES,
    PAIRS,
    PAIRS_VERSION,
    PROMPT,
    THE_ORIGINAL,
    ShardEntry,
    entry_of,
    shard_names,
)
from pipeline.shards.store import Where, child, exists, filesystem, unreadable, what_to_do, zarr_store

# The Rust codec pipeline reads pairs about four times faster. One thread: the processes around it are the parallelism.
CODEC = {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "threading.max_workers": 1}
# Zarr's settings are the process's: of two threads that open a shard, one would take back what the other set.
_SETTING = Lock()


class NoGroupError(Failure):
    """There is nothing, or no Zarr group."""


@dataclass(frozen=True)
class Shard:
    """A shard opened for reading; nothing but its attributes is in memory until a run of pairs is asked for.

    Index single pairs (`shard.pair[7]`) or runs of them (`shard.pair[32:64]`): scattered (fancy) indexing is 50 times
    slower.
    """

    name: str  # as it was opened
    pair: zarr.Array[Any]
    mask: zarr.Array[Any]
    kind: zarr.Array[Any]
    group: zarr.Array[Any]
    image_id: zarr.Array[Any]
    donor_id: zarr.Array[Any]
    prompt_is: zarr.Array[Any]
    extra: dict[str, zarr.Array[Any]]  # what else a stage keeps, uint8, by name
    attributes: dict[str, Any]

    @property
    def entry(self) -> ShardEntry:
        """What the manifest says of this shard."""
        return entry_of(self.name, self.attributes["entry"])

    @property
    def kinds(self) -> list[str]:
        """The names of the kinds, by their numbers."""
        return list(self.attributes["entry"]["kinds"])

    @property
    def groups(self) -> list[str]:
        """The names of the groups, by their numbers."""
        return list(self.attributes["entry"]["groups"])

    def prompt(self, place: int) -> npt.NDArray[np.uint8] | None:
        """The prompt of a pair, uint8 (H, W, 3); None where it is the original."""
        return None if self.prompt_is[place] == THE_ORIGINAL else np.asarray(self.extra[PROMPT][place], np.uint8)


def open_shard(where: Where, name: str) -> Shard:
    """Open a shard, of a folder or of a URL, for reading.

    Raises:
        BadRequest: there is no such shard; the message lists those there are.
        Failure: the folder is no shard of this format.
    """
    path = child(where, f"{name}.zarr")
    try:
        group, arrays = open_group(path)
    except NoGroupError:
        # A plain HTTP server need not show folders.
        if exists(path) or exists(child(path, ATTRIBUTES)):
            raise
        there = _what_is_there(where) if isinstance(where, Path) else what_to_do(where)
        raise BadRequest(f"no {name} in {where} ({there})") from None
    if group.attrs.get("format") == FEATURES:
        raise BadRequest(f"{path}: features of images, not pairs; wanted a folder such as data/pairs")
    found = group.attrs.get("format"), group.attrs.get("format_version"), sorted(arrays)
    wanted = PAIRS, PAIRS_VERSION, sorted(ARRAYS)
    if found[:2] != wanted[:2] or not set(ARRAYS) <= set(arrays):
        raise Failure(f"{path}: found {found}, wanted {wanted}; {what_to_do(path)}")
    own = {name: arrays.pop(name) for name in ARRAYS}
    return Shard(name, **own, extra=arrays, attributes=dict(group.attrs))


def open_group(path: Where) -> tuple[zarr.Group, dict[str, Any]]:
    """A Zarr group, of a folder or of a URL, and its arrays.

    Raises:
        NoGroupError: there is none.
        Failure: it cannot be read.
    """
    try:
        if not isinstance(path, Path):
            filesystem(path)  # tells of an unknown scheme
            return _with_arrays(path)
        # An array takes its codec pipeline when it is opened; the Rust one reads local files only.
        with _SETTING, zarr.config.set(CODEC):
            return _with_arrays(path)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError) as error:
        raise NoGroupError(f"{path}: not a Zarr group ({error}); {what_to_do(path)}") from None
    except Failure:
        raise
    except Exception as error:
        raise unreadable(path, error) from error


def _with_arrays(path: Where) -> tuple[zarr.Group, dict[str, Any]]:
    group = zarr.open_group(zarr_store(path), mode="r", zarr_format=3)  # or an older format is looked for, too
    return group, dict(group.arrays())


def read_column(where: Where, column: zarr.Array[Any]) -> npt.NDArray[Any]:
    """A column of the shard in a place, a number a pair.

    Raises:
        Failure: it cannot be read.
    """
    try:
        return np.asarray(column[:])
    except Exception as error:
        raise unreadable(where, error) from error


def _what_is_there(where: Path) -> str:
    found = shard_names(where)
    if not found:
        return "no shards there; run `dvc repro`"
    return f"shards there: {found[0]}" if len(found) == 1 else f"shards there: {found[0]} .. {found[-1]}"
