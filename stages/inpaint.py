"""DVC stage `inpaint`: data/index + data.images -> data/inpainted.  Run: dvc repro inpaint."""

from functools import partial
from pathlib import Path

from configs.errors import run
from configs.inpaint import InpaintParams
from configs.section import load
from pipeline.changes import build_inpainted_shard, plan_inpainted
from pipeline.cluster import build_shards, summary

SHELF = Path(".work/shards/inpaint")  # where shards lie until nothing names them any more


def main() -> None:
    """Remove objects from every image of the index."""
    params = load(InpaintParams)
    task, jobs = plan_inpainted(params, SHELF, Path("data/index"))
    work = partial(build_inpainted_shard, task=task)
    manifest = build_shards(Path("data/inpainted"), SHELF, jobs, work, params.cluster, "inpaint")
    print(f"inpaint: {summary(manifest)}")


if __name__ == "__main__":
    run(main)
