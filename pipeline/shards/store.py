"""Where shards are kept: a local folder, or any fsspec URL (`s3://bucket/prefix`), read and checked in one way."""

import hashlib
import os
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from configs.errors import BadRequest, Failure

Where = Path | str  # a local folder is a Path, a URL a str
READ_BYTES = 8 << 20  # at a time, of a file that is only hashed


def filesystem(where: Where) -> tuple[Any, str]:
    """The fsspec file system of a place and the place's path in it.

    Credentials and endpoint come from where fsspec and the backend look: AWS_PROFILE, AWS_ENDPOINT_URL, ...

    Raises:
        BadRequest: the URL's scheme is unknown, or its backend is not installed.
    """
    try:
        found, path = fsspec.url_to_fs(str(where))
    except (ValueError, ImportError) as error:
        raise BadRequest(f"{where}: {error}; wanted a folder or a URL such as s3://bucket/prefix") from None
    found.invalidate_cache()  # other processes write there
    return found, path


def check_store(url: str) -> None:
    """Write an empty object there and remove it, so that a wrong URL, endpoint or key is told before any work.

    Raises:
        BadRequest: it cannot be written.
    """
    files, path = filesystem(url)
    probe = f"{path}/.can-be-written"
    try:
        _make_parent(files, probe)
        files.pipe_file(probe, b"")
        files.rm_file(probe)
    except Exception as error:  # noqa: BLE001 - every backend has errors of its own
        raise BadRequest(f"{url}: cannot be written ({error}); check the bucket, the endpoint and the keys") from None


def child(where: Where, name: str) -> Where:
    """A place inside a place."""
    return where / name if isinstance(where, Path) else f"{where.rstrip('/')}/{name}"


def what_to_do(where: Where) -> str:
    """About something of a shard in a place that cannot be read."""
    if isinstance(where, Path):
        return "delete the shard and run `dvc repro`"
    return (
        "check the network and the keys, and run the same command again; what the store has lost or damaged is made"
        " again by `dvc repro --force --single-item` of its stage"
    )


def unreadable(where: Where, error: Exception) -> Exception:
    """What to raise for an error in reading something of a shard, which every backend has of its own."""
    if isinstance(error, MemoryError | ImportError):
        return error
    own_fault = isinstance(where, Path) and not isinstance(error, FileNotFoundError)  # such as too many open files
    return Failure(f"{where}: cannot be read ({error!r})" + ("" if own_fault else f"; {what_to_do(where)}"))


def exists(where: Where) -> bool:
    """Whether there is anything at a place."""
    files, path = filesystem(where)
    return bool(files.exists(path))


def names(where: Where) -> list[str]:
    """The names of what is directly in a place, in order; none if it is not there."""
    files, path = filesystem(where)
    if not files.exists(path):
        return []
    return sorted(found.rstrip("/").rpartition("/")[2] for found in files.ls(path, detail=False))


def file_sizes(where: Where) -> dict[str, int]:
    """The size in bytes of every file in a place, at any depth, by its path in it."""
    files, path = filesystem(where)
    return {name[len(path) :].lstrip("/"): int(found["size"]) for name, found in files.find(path, detail=True).items()}


def file_digests(where: Where) -> dict[str, str]:
    """The hexadecimal sha256 of every file in a place, at any depth, by its path in it."""
    files, path = filesystem(where)
    digests = {}
    for found in files.find(path):
        with files.open(found, "rb", block_size=READ_BYTES) as stream:
            digests[found[len(path) :].lstrip("/")] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def read(where: Where) -> bytes:
    """The content of one file."""
    files, path = filesystem(where)
    return bytes(files.cat_file(path))


def zarr_store(where: Where) -> Store:
    """A place as zarr-python reads it."""
    if isinstance(where, Path):
        return LocalStore(where, read_only=True)
    return FsspecStore.from_url(where, read_only=True)


def flush(path: Path) -> None:
    """Wait until a file or the entries of a folder are on the disk, so that a rename cannot overtake them."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def upload(folder: Path, url: str, last: str) -> None:
    """Copy a local folder to a URL as whole objects, in place of what is there; the file `last` after all others.

    Raises:
        Failure: it could not be written.
    """
    files, path = filesystem(url)
    found = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    try:
        if files.exists(path):
            files.rm(path, recursive=True)
        for name in sorted(found, key=lambda name: name == last):
            target = f"{path}/{name}"
            _make_parent(files, target)
            files.put_file(str(folder / name), target)
    except Exception as error:  # noqa: BLE001 - every backend has errors of its own
        raise Failure(f"{url}: cannot be written ({error}); what is finished is kept") from None


def _make_parent(files: Any, path: str) -> None:
    if isinstance(files, LocalFileSystem):  # object stores have no folders, and a missing bucket is not ours to make
        Path(path).parent.mkdir(parents=True, exist_ok=True)
