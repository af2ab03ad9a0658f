"""Two versions of a data set: how many pairs of which kind, made with what, and which pairs are not the same.

A version is a folder of pairs, or a revision that DVC knows: a commit, a tag, an experiment. Of a revision only the
manifest and the table of records are fetched, and of the pairs that are shown their shards.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from configs.errors import BadRequest
from pipeline.records import RECORDS_TABLE, read_records
from pipeline.shards import MANIFEST, Manifest, Shard, open_shard, read_manifest, shard_path
from pipeline.sheet import SheetEntry, contact_sheet
from pipeline.spread import spread

COLUMNS = ["id", "kind", "sha256", "shard", "place"]
MADE_WITH = ("seed", "parameters", "inputs", "code", "libraries")  # of a shard's attributes, what versions differ by
SIDES = ("before", "now")


class Version:
    """One version of a folder of pairs.

    Args:
        name: a folder of pairs, or a revision of DVC's.
        root: where the pairs lie in a revision.
        scratch: folder to fetch to.

    Raises:
        BadRequest: there is no such folder or revision, or its pairs are not at hand.
    """

    def __init__(self, name: str, root: Path, scratch: Path) -> None:
        self.name, self._files, self._in_revision = name, None, root.as_posix()
        self.root = Path(name)
        if not (self.root / MANIFEST).is_file():
            self.root = scratch
            self._files = _file_system(name)
            for file in (MANIFEST, RECORDS_TABLE):
                self._fetch(file)
        self.manifest: Manifest = read_manifest(self.root)
        table = read_records(self.root, COLUMNS)
        self.pairs = {pair: row for pair, *row in zip(*(table[name] for name in COLUMNS), strict=True)}

    def made_with(self) -> dict[str, Any]:
        """What the first shard, as all others, was made with: dotted names, values."""
        attributes = self._open(self.manifest.shards[0].name).attributes
        return flat({name: attributes[name] for name in MADE_WITH})

    def entry(self, pair: str) -> SheetEntry:
        """A pair as a sheet shows it."""
        kind, _, name, place = self.pairs[pair]
        shard = self._open(name)
        pictures, mask = np.asarray(shard.pair[place]), np.asarray(shard.mask[place]) > 0
        return SheetEntry(pictures[0], pictures[1], mask, f"{pair}: {kind}", shard.prompt(place))

    def _open(self, name: str) -> Shard:
        """A shard, fetched if it is of a revision."""
        (entry,) = (entry for entry in self.manifest.shards if entry.name == name)
        if self._files is not None and self.manifest.store is None and not shard_path(self.root, name).is_dir():
            self._fetch(f"{name}.zarr")
        return open_shard(self.manifest.where(self.root), self.manifest.key(entry))

    def _fetch(self, name: str) -> None:
        assert self._files is not None
        try:
            self._files.get(f"{self._in_revision}/{name}", str(self.root / name), recursive=True)
        except Exception as error:  # noqa: BLE001 - DVC, git and every remote have errors of their own
            shutil.rmtree(self.root / name, ignore_errors=True)
            what = " ".join(str(error).split()) or type(error).__name__
            raise BadRequest(
                f"{self.name}: cannot get {self._in_revision}/{name} ({what}); run `dvc fetch --all-commits`, or name a"
                " folder of pairs"
            ) from None


@dataclass(frozen=True)
class Difference:
    """How the second version differs from the first."""

    kinds: dict[str, tuple[int, int]]  # kind -> pairs before, now
    made_with: dict[str, tuple[Any, Any]]  # dotted name -> value before, now, of those that differ
    same: list[str]  # ids of the pairs whose pixels are equal
    changed: list[str]  # of those that are in both and look different
    gone: list[str]
    new: list[str]
    turned: dict[str, int]  # "paste -> local" -> pairs, of those that changed


def compare(before: Version, now: Version) -> Difference:
    """Hold the pairs of two versions against each other by their ids; memory holds their ids and digests."""
    shared = [pair for pair in now.pairs if pair in before.pairs]
    same = [pair for pair in shared if before.pairs[pair][1] == now.pairs[pair][1]]
    known = set(same)
    changed = [pair for pair in shared if pair not in known]
    counts = [Counter(kind for kind, *_ in version.pairs.values()) for version in (before, now)]
    was, is_now = before.made_with(), now.made_with()
    turned = Counter(f"{before.pairs[pair][0]} -> {now.pairs[pair][0]}" for pair in changed)
    return Difference(
        kinds={kind: (counts[0][kind], counts[1][kind]) for kind in {**counts[0], **counts[1]}},
        made_with={
            name: (was.get(name), is_now.get(name)) for name in {**was, **is_now} if was.get(name) != is_now.get(name)
        },
        same=same,
        changed=changed,
        gone=[pair for pair in before.pairs if pair not in now.pairs],
        new=[pair for pair in now.pairs if pair not in before.pairs],
        turned=dict(turned.most_common()),
    )


def print_difference(found: Difference, before: str, now: str, console: Console) -> None:
    """Print the tables."""
    counts = (f"{len(found.same)} are the same to the byte, {len(found.changed)} are others", f"{len(found.gone)} gone")
    console.print(escape(f"before: {before}, now: {now}"))
    console.print(escape(f"pairs: {', '.join(counts)}, {len(found.new)} new"))
    _print_table(console, "pairs", ("kind", *SIDES), [(kind, *map(str, own)) for kind, own in found.kinds.items()])
    rows = [(name, *(_short(value) for value in values)) for name, values in found.made_with.items()]
    _print_table(console, "made with", ("", *SIDES), rows)
    _print_table(
        console, "what became of those that changed", ("", "pairs"), [(k, str(n)) for k, n in found.turned.items()]
    )


def sheet_of_difference(found: Difference, before: Version, now: Version, count: int) -> npt.NDArray[np.uint8] | None:
    """Up to `count` pairs that changed, evenly taken, a row each: as it was, as it is. None where none did."""
    picked = [found.changed[place] for place in spread(len(found.changed), count)]
    entries: list[SheetEntry] = []
    for pair in picked:
        for side, version in zip(SIDES, (before, now), strict=True):
            entry = version.entry(pair)
            entries.append(replace(entry, caption=f"{side}, {entry.caption}"))
    return contact_sheet(entries, per_row=len(SIDES)) if entries else None


def _file_system(revision: str) -> Any:
    try:
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
        from dvc.scm import SCMError
    except ModuleNotFoundError:
        raise BadRequest(
            f"{revision}: no folder of pairs; to look a revision up, install DVC: pip install 'metauas-pipeline[train]'"
        ) from None
    try:
        files = DVCFileSystem(rev=revision)
        files.ls("/")
    except (DvcException, SCMError) as error:
        raise BadRequest(
            f"{revision}: neither a folder of pairs nor a revision ({' '.join(str(error).split())})"
        ) from None
    return files


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}.." if len(text) == 64 else text  # a digest


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
