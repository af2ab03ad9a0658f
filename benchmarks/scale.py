"""What a larger data set asks of index, plan, manifest and table of records: time, memory of the process, bytes.

python -m benchmarks.scale --pairs data/pairs --index data/index --images 400 7500 75000 1250000

Rows of a finished data set are repeated under other ids until there are so many images, each with as many pairs as the
parameters say; no pixel is read. Each line is of a process of its own, of which the memory is the most it took.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from configs.section import load
from configs.synth import SynthParams
from pipeline.records import RECORDS_TABLE, write_records
from pipeline.shards import MANIFEST, plan_shards, read_manifest, shard_path, write_manifest
from pipeline.shards.format import entry_of
from pipeline.source import Index, RightsTable
from pipeline.source.index_build import Found, write_index

STEPS = ("index", "plan", "manifest", "records")
PAIRS_TABLED = 200_000  # of which the table is written; more of them only take longer


def main() -> None:
    args = parser().parse_args()
    if args.step:
        print(json.dumps(measure(args.step, args, args.images[0], Path(args.work))))
        return
    table = Table("images", "pairs", "shards", "step", "seconds", "memory, MB", "on disk, MB")
    for images in args.images:
        with tempfile.TemporaryDirectory() as work:
            for step in STEPS:
                said = in_a_process(step, args, images, work)
                numbers = (said["seconds"], said["memory_mb"], said["disk_mb"])
                shown = (f"{number:,.1f}" for number in numbers)
                table.add_row(f"{images:,}", f"{said['pairs']:,}", f"{said['shards']:,}", step, *shown)
    Console(width=110).print(table)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--pairs", default="data/pairs", help="a finished folder of pairs")
    found.add_argument("--index", default="data/index", help="the index it was made from")
    found.add_argument("--images", type=int, nargs="+", default=[400, 7500, 75_000, 1_250_000])
    found.add_argument("--pairs-per-image", type=int, default=8)
    found.add_argument("--pairs-per-shard", type=int, default=256)
    found.add_argument("--step", choices=STEPS, help="one alone, in this process")
    found.add_argument("--work", help="folder of one alone")
    return found


def in_a_process(step: str, args: argparse.Namespace, images: int, work: str) -> dict:
    own = ["--step", step, "--images", str(images), "--work", work, "--pairs", args.pairs, "--index", args.index]
    sizes = ["--pairs-per-image", str(args.pairs_per_image), "--pairs-per-shard", str(args.pairs_per_shard)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", *own, *sizes], stdout=subprocess.PIPE, check=True, text=True
    )
    return json.loads(done.stdout)


def measure(step: str, args: argparse.Namespace, images: int, work: Path) -> dict:
    per_shard = max(1, args.pairs_per_shard // args.pairs_per_image)
    said = {"pairs": images * args.pairs_per_image, "shards": -(-images // per_shard)}
    if step == "index":
        found = repeated(Index(Path(args.index)), RightsTable(Path(args.index)), images)
        start = time.perf_counter()
        write_index(work / "index", found)
        size = bytes_in(work / "index")
    elif step == "plan":
        start = time.perf_counter()
        index = Index(work / "index")

        def of_part(part):
            return {"rows": index.digest_of(part.split, part.first, part.stop)}

        attributes = {"stage": "synth", "parameters": load(SynthParams).synth.model_dump(mode="json")}
        jobs = plan_shards({split: index.ranks(split) for split in ("train", "val")}, per_shard, attributes, of_part)
        said["shards"], size = len(jobs), 0
    elif step == "manifest":
        manifest = read_manifest(Path(args.pairs))
        entry = manifest.shards[0]
        per_image = (args.pairs_per_image,) * per_shard
        entry = replace(entry, pairs=sum(per_image), per_image=per_image)
        (work / "pairs").mkdir()
        start = time.perf_counter()
        write_manifest(work / "pairs", [entry_of(f"shard_{n:04d}", vars(entry)) for n in range(said["shards"])])
        assert len(read_manifest(work / "pairs").shards) == said["shards"]
        size = (work / "pairs" / MANIFEST).stat().st_size
    else:
        start, size = time.perf_counter(), tabled(args, min(said["pairs"], PAIRS_TABLED), work)
        said["pairs"] = min(said["pairs"], PAIRS_TABLED)
    seconds = time.perf_counter() - start
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {**said, "seconds": seconds, "memory_mb": memory_mb, "disk_mb": size / 1e6}


def repeated(index: Index, rights: RightsTable, images: int) -> Found:
    """The rows of an index under other ids and ranks."""
    rng = np.random.default_rng(0)
    known = [(index.image(row), index.instances(row), rights.of(row)) for row in range(len(index))]
    ranks = np.sort(rng.integers(0, 2**63, images))
    rows, instances, own = [], [], []
    for number, rank in enumerate(ranks.tolist()):
        image, objects, said = known[number % len(known)]
        split = "train" if number < 0.95 * images else "val"
        rows.append(replace(image, image_id=number, split=split, rank=rank, first_instance=len(instances)))
        instances += [replace(one, image_id=number) for one in objects]
        own.append(replace(said, image_id=number))
    return Found(rows, instances, [], [], [], Counter(), own, rights.licences, rights.categories)


def tabled(args: argparse.Namespace, pairs: int, work: Path) -> int:
    """Write the table of records of as many pairs, their shards named again and again."""
    root = Path(args.pairs)
    manifest = read_manifest(root)
    names = [entry for entry in manifest.shards if entry.split == "train"]
    target = work / "table"
    target.mkdir()
    many, total = [], 0
    while total < pairs:
        entry = names[len(many) % len(names)]
        many.append(replace(entry, name=f"shard_{len(many):04d}"))
        shard_path(target, many[-1].name).symlink_to(shard_path(root.absolute(), entry.name))
        total += entry.pairs
    write_records(target, replace(manifest, shards=tuple(many)))
    return (target / RECORDS_TABLE).stat().st_size


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    sys.exit(main())
