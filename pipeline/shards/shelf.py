"""The shelf: where finished shards of all runs lie, each under the fingerprint of what it was made from.

    .work/shards/synth/<fingerprint>.zarr     on this machine; data/pairs/shard_0003.zarr is linked from there
    s3://bucket/pairs/<fingerprint>.zarr      in a store; data/pairs/manifest.json names it

Nothing on it is overwritten, so going back to earlier parameters finds what was made then.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from configs.errors import Failure
from pipeline.shards.format import FORMAT, Manifest, read_manifest, shard_path, shelf_name
from pipeline.shards.store import Where, names

MOST_MANIFEST_BYTES = 1 << 28


def link_shard(made: Path, target: Path) -> None:
    """Show a finished shard a second time as `target`, in place of what is there, without its bytes a second time.

    Across file systems, where no link can be, they are copied.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(made, target, copy_function=_link_or_copy)


def adopt(root: Path, shelf: Path) -> int:
    """Put the local shards of a finished folder onto the shelf, if they are not there; how many were put.

    DVC removes a stage's outputs before it runs the stage: what was pulled, or what is left of a lost shelf, would be
    made again.
    """
    try:
        manifest = read_manifest(root)
    except Failure:
        return 0
    put = 0
    for entry in () if manifest.store else manifest.shards:
        lies, wanted = shard_path(root, entry.name), shard_path(shelf, shelf_name(entry.fingerprint))
        if lies.is_dir() and not wanted.is_dir():
            aside = wanted.with_name(f"{wanted.name}.partial")
            link_shard(lies, aside)
            aside.rename(wanted)
            put += 1
    return put


def unnamed_on_disk(shelf: Path) -> list[Path]:
    """The shards on a local shelf that neither a folder of the project nor DVC's cache shows, too."""
    return [shard for shard in sorted(shelf.glob("*.zarr")) if max(_files(shard), key=_size).stat().st_nlink == 1]


def unnamed_in_store(store: Where, manifests: list[Manifest]) -> list[str]:
    """The names of a store's shards that none of `manifests` speaks of."""
    named = {f"{manifest.key(entry)}.zarr" for manifest in manifests if manifest.store for entry in manifest.shards}
    return [name for name in names(store) if name.endswith(".zarr") and name not in named]


def manifests_of(cache: Path, *roots: Path) -> Iterator[Manifest]:
    """The manifests in folders of shards, and those that DVC's cache keeps of other commits."""
    for root in roots:
        if (root / "manifest.json").is_file():
            yield read_manifest(root)
    start = json.dumps({"format": FORMAT}, indent=1)[:-2].encode()  # the first bytes of a manifest
    for path in cache.glob("files/md5/*/*"):
        if path.is_file() and path.stat().st_size < MOST_MANIFEST_BYTES:
            with path.open("rb") as file:
                if file.read(len(start)) != start:
                    continue
            yield read_manifest(path.parent, path.name)


def size_of_tree(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(map(_size, _files(path)))


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


def _size(path: Path) -> int:
    return path.stat().st_size


def _link_or_copy(source: str, target: str) -> None:
    source = os.path.realpath(source)  # DVC may have put links of its own in the place of files
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
