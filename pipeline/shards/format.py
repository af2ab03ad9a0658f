"""The shard: N change pairs in one Zarr v3 group that proves by itself that it is whole and what it was made from.

    data/pairs/manifest.json            what the folder holds; the file whose digest stands for the whole set
    data/pairs/shard_0003.zarr/         in a store: <stage>/<fingerprint>.zarr
        zarr.json                       attributes: format, split, seed, parameters, versions, records, digests; and
                                        the arrays' metadata, so that a plain HTTP server will do
        pair      uint8 (N, 2, H, W, 3) [:, 0] original, [:, 1] changed; RGB
        mask      uint8 (N, H, W)       1 where the two differ by intent
        kind      uint8 (N,)            place among the names of the kinds, the keys of `entry.kinds`
        group     uint16 (N,)           category of the original, place among the names in `entry.groups`
        image_id  int64 (N,)            id of the original: COCO's, or made of the name of its file
        donor_id  int64 (N,)            image the pasted object or the texture came from, -1 if none
        prompt_is uint8 (N,)            what to compare with: 0 the original, 1 `prompt`, which is aligned with it,
                                        2 `prompt`, which shows another place or specimen
        prompt    uint8 (N, H, W, 3)    where there is one; zeros elsewhere, which take no room

and what else a stage keeps, uint8 (N, H, W). Both images of a pair lie in one chunk, so zstd finds the unchanged part
of the second in the first. Each array is one file (sharding codec) with one writer (`pipeline/shards/writer.py`): two
writers on one Zarr shard lose data silently (zarr-python #3682).
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs.errors import BadRequest, Failure
from pipeline.shards.store import Where, child, file_digests, flush, names, read

PAIRS, PAIRS_VERSION = "metauas-pairs", 5
FEATURES, FEATURES_VERSION = "clip-features", 2  # see `pipeline/shards/features.py`
VERSIONS = {PAIRS: PAIRS_VERSION, FEATURES: FEATURES_VERSION}
ARRAYS = ("pair", "mask", "kind", "group", "image_id", "donor_id", "prompt_is")
PROMPT = "prompt"
THE_ORIGINAL, ALIGNED, ELSEWHERE = range(3)  # what a prompt is
PROMPTS = ("original", "aligned", "elsewhere")  # by these numbers
NO_DONOR = -1
MANIFEST = "manifest.json"
ATTRIBUTES = "zarr.json"  # of a shard: the last file written
RECORDS = "records"
FACTS = "facts"  # of a pair's record: what it says beside what the pair is made from (`pipeline/changes/facts.py`)


@dataclass(frozen=True)
class ShardEntry:
    """What the manifest says of one shard."""

    name: str  # "shard_0003"
    split: str  # "train" or "val"
    pairs: int
    distinct: int  # pairs, each counted once however often its pixels stand there
    per_image: tuple[int, ...]  # pairs of each image that has some, in the order of the index
    kinds: dict[str, int]  # kind -> number of pairs, of every kind there is, in the order of their numbers
    groups: dict[str, int]  # group -> number of pairs, of every group there is, in the order of their numbers
    outcomes: dict[str, int]  # what was drawn again or could not be made, and why -> how often
    fingerprint: str  # of everything the shard was made from
    sha256: str  # of its arrays and records


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json."""

    shards: tuple[ShardEntry, ...]
    distinct: int  # pairs, each counted once however often its pixels stand there
    kinds: dict[str, int]
    kind_shares: dict[str, float]
    groups: dict[str, int]
    outcomes: dict[str, int]
    store: str | None  # URL of the shards; None: they lie beside the manifest

    def where(self, root: Path) -> Where:
        """The place of the shards, `root` being the folder of the manifest."""
        return self.store or root

    def key(self, entry: ShardEntry) -> str:
        """The name under which a shard lies there: in a store its fingerprint, so that no run overwrites another's."""
        return shelf_name(entry.fingerprint) if self.store else entry.name

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 that changes when any shard does."""
        return hashlib.sha256("".join(f"{shard.name} {shard.sha256}\n" for shard in self.shards).encode()).hexdigest()


def shard_name(number: int) -> str:
    """The name of shard `number`: `shard_0003`."""
    return f"shard_{number:04d}"


def number_of(name: str) -> int:
    """The number of a shard. As text `shard_10000` would stand before `shard_1001`."""
    return int(name.removeprefix("shard_"))


def shelf_name(fingerprint: str) -> str:
    """The name of a shard where those of many runs lie together."""
    return fingerprint[:32]


def entry_of(name: str, said: Mapping[str, Any]) -> ShardEntry:
    """The entry of a shard of that name, from what it or the manifest says of it."""
    return ShardEntry(**{**said, "name": name, "per_image": tuple(said["per_image"])})


def shard_path(root: Path, name: str) -> Path:
    """The folder of a shard in a local folder."""
    return root / f"{name}.zarr"


def read_attributes(path: Where) -> dict[str, Any]:
    """The attributes of a shard, whose folder or URL `path` is, without opening its arrays.

    Raises:
        Failure: there is no shard of a format that is known here.
    """
    try:
        attributes: dict[str, Any] = json.loads(read(child(path, ATTRIBUTES)))["attributes"]
        found = attributes["format"], attributes["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path}: no shard there ({error!r})") from None
    if found not in VERSIONS.items():
        raise Failure(f"{path}: found {found}, wanted one of {list(VERSIONS.items())}")
    return attributes


def is_intact(path: Where, entry: ShardEntry) -> bool:
    """Whether the bytes of a shard, whose folder or URL `path` is, are those that were written."""
    return combined_digest(content_digests(path)) == entry.sha256


def content_digests(path: Where) -> dict[str, str]:
    """The hexadecimal sha256 of what a shard holds: of every file of its arrays, and of the records."""
    digests = file_digests(path)
    if digests.pop(ATTRIBUTES, None) is None:
        return digests
    try:
        records = json.loads(read(child(path, ATTRIBUTES)))["attributes"][RECORDS]
    except (ValueError, KeyError, TypeError):
        return digests
    return {**digests, RECORDS: digest_of_records(records)}


def digest_of_records(records: Sequence[Mapping[str, Any]]) -> str:
    """Hexadecimal sha256 of the records of a shard's pairs."""
    return hashlib.sha256(json.dumps(records, sort_keys=True).encode()).hexdigest()


def combined_digest(digests: Mapping[str, str]) -> str:
    """Hexadecimal sha256 over digests and what they are of, in order."""
    return hashlib.sha256("".join(f"{name} {digests[name]}\n" for name in sorted(digests)).encode()).hexdigest()


def shard_names(where: Where) -> list[str]:
    """The names of the shards in a folder, in the order of their numbers."""
    found = [name.removesuffix(".zarr") for name in names(where) if re.fullmatch(r"shard_\d+\.zarr", name)]
    return sorted(found, key=number_of)


def write_manifest(root: Path, entries: Sequence[ShardEntry], store: str | None = None, form: str = PAIRS) -> Manifest:
    """Write manifest.json for the shards of `root`, or of the URL `store`, all of one format, whole or not at all."""
    shards = tuple(sorted(entries, key=lambda entry: number_of(entry.name)))
    kinds, groups = Counter[str](), Counter[str]()
    outcomes = Counter[str]()
    for entry in shards:
        kinds.update(entry.kinds)
        groups.update(entry.groups)
        outcomes.update(entry.outcomes)
    total = max(sum(kinds.values()), 1)
    manifest = Manifest(
        shards=shards,
        distinct=sum(entry.distinct for entry in shards),
        kinds=dict(kinds),
        kind_shares={kind: round(count / total, 6) for kind, count in kinds.items()},
        groups=dict(groups),
        outcomes=dict(sorted(outcomes.items())),
        store=store,
    )
    content = {"format": form, "format_version": VERSIONS[form], "digest": manifest.digest, **asdict(manifest)}
    aside = root / f"{MANIFEST}.partial"
    aside.write_text(json.dumps(content, indent=1) + "\n")
    flush(aside)
    aside.rename(root / MANIFEST)
    return manifest


def read_manifest(root: Path, name: str = MANIFEST) -> Manifest:
    """Read the manifest of a folder of shards; DVC's cache has it under another name.

    Raises:
        BadRequest: there is none.
        Failure: it is not a manifest of this format.
    """
    path = root / name
    try:
        content = json.loads(path.read_text())
        return Manifest(
            shards=tuple(entry_of(shard["name"], shard) for shard in content["shards"]),
            distinct=content["distinct"],
            kinds=content["kinds"],
            kind_shares=content["kind_shares"],
            groups=content["groups"],
            outcomes=content["outcomes"],
            store=content["store"],
        )
    except FileNotFoundError:
        raise BadRequest(f"no {path}: the shards are not finished; run `dvc repro`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Failure(f"{path}: not a manifest ({error!r}); delete it and run `dvc repro`") from None
