"""The shelf: where finished shards of all runs lie, each under the fingerprint of what it was made from.

    .work/shards/synth/<fingerprint>.zarr     on this machine; data/pairs/shard_0003.zarr is linked from there
    s3://bucket/pairs/<fingerprint>.zarr      in a store; data/pairs/manifest.json names it

Nothing on it is overwritten, so going back to earlier parameters finds what was made then.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from configs.errors import Failure
from pipeline.linked import keep
from pipeline.shards.format import VERSIONS, Manifest, read_manifest, shard_path, shelf_name
from pipeline.shards.store import Where, names

MOST_MANIFEST_BYTES = 1 << 28


def adopt(root: Path, shelf: Path) -> int:
    """Put the local shards of a finished folder onto the shelf, if they are not there; how many were put."""
    try:
        manifest = read_manifest(root)
    except Failure:
        return 0
    entries = () if manifest.store else manifest.shards
    return sum(
        keep(shard_path(root, entry.name), shard_path(shelf, shelf_name(entry.fingerprint))) for entry in entries
    )


def unnamed_in_store(store: Where, manifests: list[Manifest]) -> list[str]:
    """The names of a store's shards that none of `manifests` speaks of."""
    named = {f"{manifest.key(entry)}.zarr" for manifest in manifests if manifest.store for entry in manifest.shards}
    return [name for name in names(store) if name.endswith(".zarr") and name not in named]


def manifests_of(cache: Path, *roots: Path) -> Iterator[Manifest]:
    """The manifests in folders of shards, and those that DVC's cache keeps of other commits."""
    for root in roots:
        if (root / "manifest.json").is_file():
            yield read_manifest(root)
    starts = tuple(json.dumps({"format": form}, indent=1)[:-2].encode() for form in VERSIONS)  # of a manifest
    for path in cache.glob("files/md5/*/*"):
        if path.is_file() and path.stat().st_size < MOST_MANIFEST_BYTES:
            with path.open("rb") as file:
                if not file.read(max(map(len, starts))).startswith(starts):
                    continue
            yield read_manifest(path.parent, path.name)
