"""Peak memory of a worker process for small and large shards of real photographs.

python -m benchmarks.memory --images ../shared/data/coco400/images \
    --annotations ../shared/data/coco400/annotations/instances.json
"""

import argparse
import resource
import sys
import tempfile
from functools import partial
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from configs.cluster import Cluster
from configs.everything import Everything
from pipeline.changes.inpaint import build_inpainted_shard, plan_inpainted
from pipeline.changes.synth import build_pair_shard, plan_pairs
from pipeline.cluster.client import connect, run_jobs
from pipeline.linked import show
from pipeline.shards.format import shard_path, shelf_name, write_manifest
from pipeline.shards.jobs import ShardJob
from pipeline.source.coco import read_annotations
from pipeline.source.index_build import build_index, choose_images, write_index


def main() -> None:
    args = parser().parse_args()
    table = Table("pairs per shard", "stage", "pairs made", "peak of the worker, MB", "raw pixels of a shard, MB")
    with tempfile.TemporaryDirectory() as folder:
        for per_shard in args.per_shard:
            params = parameters(args, per_shard)
            work = Path(folder) / str(per_shard)
            for stage, pairs, peak_mb in measure(params, work):
                raw_mb = per_shard * args.size_px**2 * 7 / 1e6
                table.add_row(str(per_shard), stage, str(pairs), f"{peak_mb:.0f}", f"{raw_mb:.0f}")
    Console().print(table)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--images", required=True, help="folder of a COCO-format source")
    found.add_argument("--annotations", required=True, help="its instances JSON")
    found.add_argument("--per-shard", type=int, nargs="+", default=[64, 2048], help="pairs per shard to compare")
    found.add_argument("--size-px", type=int, default=256)
    found.add_argument("--filler", default="opencv_telea")
    return found


def parameters(args: argparse.Namespace, per_shard: int) -> Everything:
    values = yaml.safe_load(Path("configs/coco60k.yaml").read_text())
    values["size_px"] = args.size_px
    values["data"].update(images=args.images, annotations=args.annotations)
    values["inpaint"].update(filler=args.filler, pairs_per_shard=per_shard)
    values["synth"].update(pairs_per_shard=per_shard)
    images = len(read_annotations(Path(args.annotations)).images)
    # Enough of each for one full shard of the train split.
    each = -(-per_shard // int(images * (1 - values["index"]["val_share"])))
    values["inpaint"]["variants_per_image"] = values["synth"]["pairs_per_image"] = each
    return Everything.model_validate(values)


def measure(params: Everything, work: Path) -> list[tuple[str, int, float]]:
    annotations = read_annotations(Path(params.data.annotations))
    places = choose_images(annotations.groups, params.index.images, params.index.val_share, params.seed)
    write_index(work / "index", build_index(annotations, Path(params.data.images), places, 0.1))
    task, jobs = plan_inpainted(params, work / "shelf", work / "index")
    entries, inpaint_mb = run_and_weigh(partial(build_inpainted_shard, task=task), jobs)
    (work / "inpainted").mkdir()
    for entry in entries:
        show(shard_path(work / "shelf", shelf_name(entry.fingerprint)), shard_path(work / "inpainted", entry.name))
    write_manifest(work / "inpainted", entries)
    pairs_task, jobs = plan_pairs(params, work / "shelf", work / "index", work / "inpainted")
    made, synth_mb = run_and_weigh(partial(build_pair_shard, task=pairs_task), jobs[:4])
    return [
        ("inpaint", sum(entry.pairs for entry in entries), inpaint_mb),
        ("synth", sum(entry.pairs for entry in made), synth_mb),
    ]


def run_and_weigh(work, jobs: list[ShardJob]) -> tuple[list, float]:
    """The results of one worker process, and the most memory it ever took, in MB."""
    with connect(Cluster(workers=1, memory_limit="8 GiB", address=None)) as client:
        results = list(run_jobs(client, work, jobs))
        (peak_mb,) = client.run(peak_memory_mb).values()
    return results, peak_mb


def peak_memory_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
