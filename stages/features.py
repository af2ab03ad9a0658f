"""DVC stage `features`: features.source -> data/features, by CLIP.  Run: dvc repro features.

Systems that learn from pixels have no use for it: then it says so, and leaves an empty manifest.
"""

import shutil
from functools import partial
from pathlib import Path

from configs.errors import run
from configs.features import Clip, FeaturesParams
from configs.section import load
from pipeline.shards import FEATURES, write_manifest

OUT = Path("data/features")
SHELF = Path(".work/shards/features")  # where shards lie until nothing names them any more
PLANS = Path(".work/features")


def main() -> None:
    """Keep what CLIP makes of every image."""
    params = load(FeaturesParams)
    clip = params.features.clip
    if clip is None:
        shutil.rmtree(OUT, ignore_errors=True)
        OUT.mkdir(parents=True)
        write_manifest(OUT, [], form=FEATURES)
        print("features: features.clip is null, so none are kept; what is trained learns from pixels")
        return
    _extract(params, clip)


def _extract(params: FeaturesParams, clip: Clip) -> None:
    # Torch takes longer to import than all that is done for the other systems.
    from model.features import extract_shard, of_benchmark, of_pairs, plan_features, without_small_tasks
    from model.layouts import labelled
    from pipeline.cluster import build_shards

    source = Path(params.features.source)
    if clip.layout == "pairs":
        items, small = without_small_tasks(of_pairs(source, clip.tasks), clip.least_photographs)
        if small:
            said = ", ".join(f"{task} {there}" for task, there in small.items())
            print(f"features: {len(small)} tasks left out, too few changed photographs (to learn from + val): {said}")
    else:
        items = of_benchmark(labelled(clip.layout, source), source, clip.val_share)
    task, jobs = plan_features(params, items, SHELF, PLANS)
    work = partial(extract_shard, task=task)
    manifest = build_shards(OUT, SHELF, jobs, work, params.cluster, "features", FEATURES)
    shown = ", ".join(f"{name} {count}" for name, count in manifest.groups.items())
    kinds = ", ".join(f"{count} {kind}" for kind, count in manifest.kinds.items())
    print(f"features: {kinds} images in {len(manifest.shards)} shards; tasks: {shown}")


if __name__ == "__main__":
    run(main)
