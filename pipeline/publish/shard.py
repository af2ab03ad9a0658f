"""One shard to one form: written aside, moved into place whole, and noted, so that a second run goes on from it."""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import cv2

from configs.errors import Failure
from pipeline.publish.coco import fragment
from pipeline.publish.given import GivenPair, read_pairs
from pipeline.publish.parquet import write_parquet
from pipeline.publish.pictures import write_pictures
from pipeline.publish.webdataset import write_tar
from pipeline.shards import ShardEntry, Where, child, filesystem, flush, is_intact

FORMS = ("zarr", "webdataset", "parquet", "coco", "png")
NOTES = ".export"  # folder of what is known of each finished shard
INSTANCES = ".instances.jsonl"  # of a shard of the form coco, beside its note
VERSION = 1  # of the forms' content: another makes everything again


@dataclass(frozen=True)
class ExportJob:
    """One shard to be given away."""

    name: str  # of the shard
    where: Where
    key: str
    entry: ShardEntry
    first: int  # number of its first pair among all that are given away
    form: str  # of FORMS
    pictures: str  # "png" or "webp"
    out: Path


@dataclass(frozen=True)
class Exported:
    """A shard that was given away."""

    name: str
    pairs: int
    files: dict[str, tuple[int, str]]  # path in the folder -> bytes, hexadecimal sha256; parts of others in NOTES
    made_from: list[str | int]  # what decides whether it is still right


def finished(job: ExportJob) -> Exported | None:
    """What a job left if all of it is still there, by name and size."""
    known = noted(job.out, job.name)
    if known is None or known.made_from != made_from(job):
        return None
    files = {job.out / name: size for name, (size, _) in known.files.items()}
    return known if all(path.is_file() and path.stat().st_size == size for path, size in files.items()) else None


def noted(out: Path, name: str) -> Exported | None:
    """What the folder says of an exported shard; None where it says nothing that can be read."""
    try:
        said = json.loads((out / NOTES / f"{name}.json").read_text())
        return Exported(**{**said, "files": {name: (size, digest) for name, (size, digest) in said["files"].items()}})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def export_shard(job: ExportJob) -> Exported:
    """Write one shard in its new form (runs on a Dask worker).

    Raises:
        Failure: the shard is not there, or is another than its entry says.
    """
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    notes = job.out / NOTES
    notes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{job.name}.partial-", dir=notes) as scratch:
        aside = Path(scratch)
        _write(aside, job)
        files = {}
        for path in sorted(path for path in aside.rglob("*") if path.is_file()):
            name = path.relative_to(aside).as_posix()
            files[name] = path.stat().st_size, sha256_of(path)
            flush(path)
            (job.out / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(job.out / name)
    made = Exported(job.name, job.entry.pairs, files, made_from(job))
    partial = _note(job).with_suffix(".partial")
    partial.write_text(json.dumps(asdict(made)))
    partial.rename(_note(job))
    return made


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(aside: Path, job: ExportJob) -> None:
    if job.form == "zarr":
        source = child(job.where, f"{job.key}.zarr")
        if not is_intact(source, job.entry):
            raise Failure(f"{source}: not the bytes that the manifest names; run `dvc checkout` or `dvc repro`")
        files, path = filesystem(source)
        files.get(path, str(aside / "data" / f"{job.name}.zarr"), recursive=True)
        return
    pairs = read_pairs(job.where, job.key, job.entry)
    file = aside / "data" / f"{job.entry.split}-{job.name.removeprefix('shard_')}"
    if job.form == "webdataset":
        file.parent.mkdir()
        write_tar(file.with_suffix(".tar"), pairs, job.pictures)
    elif job.form == "parquet":
        file.parent.mkdir()
        write_parquet(file.with_suffix(".parquet"), pairs, job.pictures)
    elif job.form == "png":
        write_pictures(aside, pairs)
    else:
        instances = aside / NOTES / f"{job.name}{INSTANCES}"
        instances.parent.mkdir()
        with instances.open("w") as lines:
            write_pictures(aside, _noting(pairs, job, lines))


def _noting(pairs: Iterator[GivenPair], job: ExportJob, lines: TextIO) -> Iterator[GivenPair]:
    """The pairs as they go by, what the instances file says of each written down."""
    kinds = list(job.entry.kinds)
    for number, pair in enumerate(pairs, start=job.first):
        lines.write(json.dumps(fragment(pair, number, kinds)) + "\n")
        yield pair


def made_from(job: ExportJob) -> list[str | int]:
    """What decides whether what a job left is still right."""
    # The fingerprint tells names of licences and categories, which are neither pixels nor records.
    return [job.entry.sha256, job.entry.fingerprint, job.first, job.form, job.pictures, VERSION]


def _note(job: ExportJob) -> Path:
    return job.out / NOTES / f"{job.name}.json"
