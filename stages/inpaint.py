"""DVC stage `inpaint`: data/index + data.images -> data/inpainted.  Run: dvc repro inpaint."""

from functools import partial
from pathlib import Path

from configs.errors import run
from configs.inpaint import InpaintParams
from configs.section import load
from pipeline.changes import build_inpainted_shard, plan_inpainted
from pipeline.cluster import build_shards, summary
from pipeline.source import Index

INDEX = Path("data/index")
SHELF = Path(".work/shards/inpaint")  # where shards lie until nothing names them any more


def main() -> None:
    """Remove objects from every image of the index."""
    params = load(InpaintParams)
    task, jobs = plan_inpainted(params, SHELF, INDEX)
    if not Index(INDEX).summary["instances"]:
        print("inpaint: the index has no instances, so nothing is removed; images are kept as they are", flush=True)
    work = partial(build_inpainted_shard, task=task)
    manifest = build_shards(Path("data/inpainted"), SHELF, jobs, work, params.cluster, "inpaint")
    print(f"inpaint: {summary(manifest)}")


if __name__ == "__main__":
    run(main)
