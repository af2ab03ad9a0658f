"""Give a data set away: its pairs in a form that other libraries open, with card, digests and rights.

    python -m pipeline.export given --to parquet                  Hugging Face's datasets, pandas, DuckDB
    python -m pipeline.export given --to webdataset               tar files, streamed in training
    python -m pipeline.export given --to coco                     PNG files and COCO instances of the changes
    python -m pipeline.export given --to png --splits val         PNG files alone
    python -m pipeline.export given --to zarr                     the shards as they are
    python -m pipeline.export given --to parquet --root pulled/pairs --workers 8

A shard becomes a file (or, as pictures, some), made by Dask worker processes, some pairs at a time. What is finished is
kept: after Ctrl-C the same command goes on. Beside the data lie README.md (the card), croissant.json, records.parquet
and SHA256SUMS. Exit status: 0 done, 1 the work failed, 2 the request was wrong.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from configs.card import CardParams
from configs.cluster import Cluster
from configs.errors import BadRequest, Failure, run
from configs.section import load
from pipeline.cluster import connect, run_jobs
from pipeline.progress import track
from pipeline.publish import (
    FORMS,
    INSTANCES,
    NOTES,
    Exported,
    ExportJob,
    Summary,
    draw_areas,
    export_shard,
    finished,
    made_from,
    noted,
    sha256_of,
    summarise,
    write_card,
    write_croissant,
    write_instances,
)
from pipeline.records import RECORDS_TABLE
from pipeline.shards import MANIFEST, Manifest, read_manifest, write_manifest
from pipeline.source import SPLITS

SUMS = "SHA256SUMS"
AREAS = "areas.png"
LISTED = ("parquet", "webdataset")  # forms of which croissant.json names each file
MEMORY = "1 GiB"  # a worker holds some dozens of pairs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    args = _parser().parse_args(argv)
    name = args.name or load(CardParams).card.name
    manifest = read_manifest(args.root)
    said = summarise(args.root, args.splits)
    jobs = plan(manifest, args.root, args.splits, args.to, args.pictures, args.out)
    _make_ready(args.out, jobs)
    start = time.monotonic()
    made = _export(jobs, Cluster(workers=args.workers, memory_limit=args.memory, address=args.address))
    seconds = time.monotonic() - start
    new = sum(exported.pairs for exported, is_new in made if is_new)
    exports = [exported for exported, _ in made]
    try:
        finish(args.out, exports, jobs, said, args.root, name)
    except OSError as error:
        raise Failure(f"{args.out}: {error}; what is finished is kept, so run the same command again") from None
    size = sum(size for exported in exports for size, _ in exported.files.values())
    rate = f", {new / seconds:.0f} pairs/s" if new else ", all were there"
    each = size / max(said.pairs, 1) / 1e3
    print(f"{args.out}: {said.pairs} pairs as {args.to}, {size / 1e6:.1f} MB, {each:.1f} kB a pair{rate}")
    return 0


def plan(manifest: Manifest, root: Path, splits: Sequence[str], form: str, pictures: str, out: Path) -> list[ExportJob]:
    """A job for each shard of some splits that has a pair."""
    jobs: list[ExportJob] = []
    first = 1
    for entry in manifest.shards:
        if entry.split in splits and entry.pairs:
            # Absolute: workers of a cluster started by hand may run in another folder.
            where = manifest.store or root.absolute()
            key = manifest.key(entry)
            jobs.append(ExportJob(entry.name, where, key, entry, first, form, pictures, out.absolute()))
            first += entry.pairs
    return jobs


def finish(
    out: Path, exports: Sequence[Exported], jobs: Sequence[ExportJob], said: Summary, root: Path, name: str
) -> None:
    """Write what lies beside the data: instances, records, card, Croissant file, digests."""
    form, splits = jobs[0].form, sorted({job.entry.split for job in jobs})
    files = {path: digest for exported in exports for path, (_, digest) in exported.files.items()}
    files = {path: digest for path, digest in files.items() if not path.startswith(NOTES)}
    beside = []
    if form == "zarr":  # so that this project trains on it and verifies it, as on data/pairs
        write_manifest(out / "data", [job.entry for job in jobs])
        beside.append(f"data/{MANIFEST}")
    if form == "coco":
        for split in splits:
            parts = [out / NOTES / f"{job.name}{INSTANCES}" for job in jobs if job.entry.split == split]
            instances = f"annotations/instances_{split}.json"
            about = f"Changes of the pairs of {name}, split {split}; digest of all shards {said.digest}"
            write_instances(out / instances, parts, list(jobs[0].entry.kinds), said.licence_names, about)
            beside.append(instances)
    write_some_records(root / RECORDS_TABLE, out / RECORDS_TABLE, splits)
    draw_areas(out / AREAS, said.areas)
    (out / "README.md").write_text(
        write_card(said, name, form, {"areas of the masks": AREAS}, pictures=jobs[0].pictures)
    )
    files |= {path: sha256_of(out / path) for path in (*beside, RECORDS_TABLE, AREAS, "README.md")}
    (out / SUMS).write_text("".join(f"{digest}  {path}\n" for path, digest in sorted(files.items())))
    listed = {path: digest for path, digest in sorted(files.items()) if form in LISTED or path in beside}
    listed |= {RECORDS_TABLE: files[RECORDS_TABLE], SUMS: sha256_of(out / SUMS)}
    today = datetime.now(UTC).date().isoformat()
    (out / "croissant.json").write_text(write_croissant(said, name, listed, RECORDS_TABLE, today))


def write_some_records(table: Path, target: Path, splits: Sequence[str]) -> None:
    """Copy the records of some splits, a row group at a time."""
    found = parquet.ParquetFile(table)
    with parquet.ParquetWriter(target, found.schema_arrow, compression="zstd") as writer:
        for group in range(found.num_row_groups):
            rows = found.read_row_group(group)
            wanted = pa.array([split in splits for split in rows["split"].to_pylist()])
            writer.write_table(rows.filter(wanted))


def _export(jobs: Sequence[ExportJob], cluster: Cluster) -> list[tuple[Exported, bool]]:
    """What each job gave, in the order of the jobs, and whether it was made now."""
    there = {job.name: found for job in jobs if (found := finished(job)) is not None}
    missing = [job for job in jobs if job.name not in there]
    made: dict[str, Exported] = {}
    if there:
        print(f"export: {len(there)} of {len(jobs)} shards are already there and kept", file=sys.stderr)
    if missing:
        total, done = sum(job.entry.pairs for job in jobs), sum(found.pairs for found in there.values())
        with connect(cluster) as client:
            results: Iterable[Exported] = run_jobs(client, export_shard, missing)
            for exported in track(results, "export pairs", total, done=done, size=_pairs):
                made[exported.name] = exported
    return [(made[job.name], True) if job.name in made else (there[job.name], False) for job in jobs]


def _pairs(exported: Exported) -> int:
    return exported.pairs


def _make_ready(out: Path, jobs: Sequence[ExportJob]) -> None:
    """Clear what an interrupted run left half written.

    Raises:
        BadRequest: the folder holds anything but an export of the same pairs in the same form: files of others would
            stay among them.
    """
    if out.exists() and not out.is_dir():
        raise BadRequest(f"{out}: is a file; name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / NOTES).is_dir():
        raise BadRequest(f"{out}: holds other files; name a new folder, or one that an earlier export began")
    for left in (out / NOTES).glob("*.partial-*"):
        shutil.rmtree(left)
    wanted = {job.name: made_from(job) for job in jobs}
    for note in (out / NOTES).glob("*.json"):
        known = noted(out, note.stem)
        if known is not None and known.made_from != wanted.get(note.stem):
            raise BadRequest(f"{out}: holds an export of other pairs or in another form; name a new folder")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder to write to: new, or of the same export, to go on")
    parser.add_argument("--to", required=True, choices=FORMS, help="form of the pairs")
    parser.add_argument("--root", type=Path, default=Path("data/pairs"), help="folder of the manifest (data/pairs)")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="which (both)")
    parser.add_argument("--pictures", choices=("webp", "png"), default="webp", help="in tar and parquet files (webp)")
    parser.add_argument("--name", help="what the card calls the source of the photographs (card.name of params.yaml)")
    parser.add_argument("--workers", type=_count, default=2, metavar="N", help="worker processes (2)")
    parser.add_argument(
        "--memory", default=MEMORY, metavar="SIZE", help=f"of a worker, as cluster.memory_limit ({MEMORY})"
    )
    parser.add_argument("--address", help="of a running Dask scheduler instead, tcp://host:8786")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    run(main)
