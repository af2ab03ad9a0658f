"""DVC stage `inpaint`: data/index + data.images -> data/inpainted.  Run: dvc repro inpaint."""

from functools import partial
from pathlib import Path

from configs.errors import run
from configs.inpaint import InpaintParams
from configs.section import load
from pipeline.changes import build_inpainted_shard, plan_inpainted
from pipeline.cluster import build_shards, summary


def main() -> None:
    """Remove objects from every image of the index."""
    params = load(InpaintParams)
    root = Path("data/inpainted")
    task, jobs = plan_inpainted(params, root, Path("data/index"))
    manifest = build_shards(root, jobs, partial(build_inpainted_shard, task=task), params.cluster, "inpaint")
    print(f"inpaint: {summary(manifest)}")


if __name__ == "__main__":
    run(main)
