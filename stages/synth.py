"""DVC stage `synth`: data/index + data/inpainted -> data/pairs.  Run: dvc repro synth."""

from functools import partial
from pathlib import Path

from configs.errors import run
from configs.section import load
from configs.synth import SynthParams
from pipeline.changes import build_pair_shard, plan_pairs
from pipeline.cluster import build_shards, summary
from pipeline.records import write_records

PAIRS = Path("data/pairs")
SHELF = Path(".work/shards/synth")  # where shards lie until nothing names them any more


def main() -> None:
    """Make the pairs of every image of the index."""
    params = load(SynthParams)
    task, jobs = plan_pairs(params, SHELF, Path("data/index"), Path("data/inpainted"))
    work = partial(build_pair_shard, task=task)
    manifest = build_shards(PAIRS, SHELF, jobs, work, params.cluster, "synth")
    write_records(PAIRS, manifest)
    print(f"synth: {summary(manifest)}")


if __name__ == "__main__":
    run(main)
