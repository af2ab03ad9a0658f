"""Images to shards of features: one job, one shard, on whatever worker."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from configs.errors import Failure
from configs.features import FeaturesParams
from model.encoders import ClipSizes, read_clip, sha256_of, sizes_of
from model.features.items import Item, made_with, tasks_of
from model.images import read_image, resize_image
from model.metacan import image_tokens
from pipeline.shards import (
    NewImage,
    Part,
    ShardEntry,
    ShardJob,
    fingerprint,
    machine,
    made_by,
    open_shard,
    plan_shards,
    read_manifest,
    refuse_other_code,
    shelf_name,
    write_features,
)

BATCH = 8  # images that the tower sees at once
RANK_BYTES = 7
LIBRARIES = ("torch", "open_clip_torch")


@dataclass(frozen=True)
class FeaturesTask:
    """What is the same for all shards of data/features."""

    shelf: Path  # where the shards go
    plan: Path  # JSON of the items of each split
    source: Path
    weights: Path  # of CLIP
    clip_sha256: str  # of that file, which a worker's must have
    blocks: tuple[int, ...]
    sizes: ClipSizes


def plan_features(
    params: FeaturesParams, items: Sequence[Item], shelf: Path, plans: Path
) -> tuple[FeaturesTask, list[ShardJob]]:
    """The task and its shards; in `plans` a file is left that tells workers which images a shard is of.

    Raises:
        BadRequest: there is no CLIP file.
        Failure: open_clip is not installed.
    """
    clip = params.features.clip
    assert clip is not None, "without CLIP no features are made"
    file = read_clip(clip.weights, "features", "features.clip.weights")
    sizes = sizes_of(clip.towers)
    file.image_tower(sizes)  # a file that does not fit is told before any worker starts
    by_split = {split: sorted((item for item in items if item.split == split), key=_rank) for split in ("train", "val")}
    content = json.dumps({split: [asdict(item) for item in own] for split, own in by_split.items()})
    plan = plans / f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    shutil.rmtree(plans, ignore_errors=True)  # those of earlier runs
    plans.mkdir(parents=True)
    plan.write_text(content)
    attributes = {
        "stage": "features",
        "parameters": made_with(clip, file.sha256),
        **made_by(__name__, LIBRARIES),
    }

    def of_part(part: Part) -> dict[str, Any]:
        own = by_split[part.split][part.first : part.stop]
        return {"inputs": fingerprint({"items": [asdict(item) | {"place": None} for item in own]})}

    ranks = {split: [_rank(item) for item in own] for split, own in by_split.items()}
    # Absolute: workers of a cluster started by hand may run in another folder.
    source, weights = (Path(name).absolute() for name in (params.features.source, clip.weights))
    task = FeaturesTask(shelf.absolute(), plan.absolute(), source, weights, file.sha256, tuple(clip.blocks), sizes)
    return task, plan_shards(ranks, clip.images_per_shard, attributes, of_part, clip.store)


def extract_shard(job: ShardJob, task: FeaturesTask) -> ShardEntry:
    """Make one shard.

    Raises:
        Failure: an image cannot be read, features are not finite in float16, or this worker runs other code or has
            another CLIP file.
    """
    refuse_other_code(job.attributes)
    part = job.part
    items = _plan(task.plan)[part.split][part.first : part.stop]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tower = _tower(task.weights, task.clip_sha256, task.sizes).to(device)
    made = []
    for start in range(0, len(items), BATCH):
        some = items[start : start + BATCH]
        seen = torch.stack([_image(item, task) for item in some])
        found = image_tokens(tower, task.blocks, task.sizes.image_px, seen.to(device)).half().cpu()
        for item, one in zip(some, found, strict=True):
            if not one.isfinite().all():
                raise Failure(f"features: those of {item.name} are not finite in float16; are these CLIP's weights?")
        made.append(found.numpy())
    images = [NewImage(item.anomalous, item.group, item.image_id, item.name) for item in items]
    attributes = {**job.attributes, "fingerprint": job.fingerprint, "made_on": machine(device.type)}
    name, features = shelf_name(job.fingerprint), np.concatenate(made)
    entry = write_features(task.shelf, name, tasks_of(items), images, features, attributes, job.store)
    return replace(entry, name=job.name)


def _rank(item: Item) -> int:
    """Of an image among those of its split: it changes with no other image."""
    return int.from_bytes(hashlib.sha256(item.name.encode("utf-8", "surrogateescape")).digest()[:RANK_BYTES])


def _image(item: Item, task: FeaturesTask) -> Tensor:
    """Float32 (3, side, side) in [0, 1], as CLIP sees it."""
    if isinstance(item.place, str):
        path = Path(item.place)
        if sha256_of(path) != item.content:
            raise Failure(f"{path}: changed since it was listed, or another file on this worker; run `dvc repro`")
        pixels = read_image(path)
    else:
        name, row, side = item.place
        pixels = np.asarray(_pairs(task.source, name, item.content).pair[row, side])
    seen = resize_image(pixels, (task.sizes.image_px, task.sizes.image_px), "crop")
    return torch.from_numpy(seen).permute(2, 0, 1)


@lru_cache(maxsize=1)
def _plan(path: Path) -> dict[str, list[Item]]:
    said = json.loads(path.read_text())
    return {
        split: [
            Item(**{**one, "place": one["place"] if isinstance(one["place"], str) else tuple(one["place"])})
            for one in own
        ]
        for split, own in said.items()
    }


@lru_cache(maxsize=4)
def _pairs(source: Path, name: str, sha256: str) -> Any:
    manifest = read_manifest(source)
    entry = next(entry for entry in manifest.shards if entry.name == name)
    if entry.sha256 != sha256:
        raise Failure(f"{source}: {name} changed since it was listed; run `dvc repro`")
    return open_shard(manifest.where(source), manifest.key(entry))


@lru_cache(maxsize=1)
def _tower(weights: Path, sha256: str, sizes: ClipSizes) -> Any:
    file = read_clip(weights, "features", "features.clip.weights")
    if file.sha256 != sha256:
        raise Failure(
            f"{weights}: of sha256 {file.sha256} on this worker, but the job is of {sha256}; put the same file there,"
            " and run the same command again; what is finished is kept"
        )
    return file.image_tower(sizes)
