"""DVC stage `synth`: data/index + data/inpainted -> data/pairs.  Run: dvc repro synth."""

from functools import partial
from pathlib import Path

from configs.errors import run
from configs.section import load
from configs.synth import SynthParams
from pipeline.changes import build_pair_shard, plan_pairs
from pipeline.cluster import build_shards, summary


def main() -> None:
    """Make the pairs of every image of the index."""
    params = load(SynthParams)
    root = Path("data/pairs")
    task, jobs = plan_pairs(params, root, Path("data/index"), Path("data/inpainted"))
    manifest = build_shards(root, jobs, partial(build_pair_shard, task=task), params.cluster, "synth")
    print(f"synth: {summary(manifest)}")


if __name__ == "__main__":
    run(main)
