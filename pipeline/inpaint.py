"""Objects removed from images (paper, section 3.3, "disappearance"): data/index -> data/inpainted.

Item `i` of a split is variant `i % variants_per_image` of its image `i // variants_per_image`, so the place of an
image's variants follows from the index alone. An image of which nothing can be removed is there too, as it is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.inpaint import Inpaint, InpaintParams
from configs.section import height_width
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.build import ShardJob, plan_shards
from pipeline.fillers import make_filler
from pipeline.images import resize, resize_mask
from pipeline.index import SPLITS, Index, InstanceRow, read_indexed_image
from pipeline.provenance import provenance
from pipeline.shards import INPAINT, NO_DONOR, UNCHANGED, Pairs, ShardEntry, write_shard
from pipeline.visible import contrast, keep_visible


@dataclass(frozen=True)
class InpaintTask:
    """What is the same for all shards of data/inpainted."""

    root: Path  # where the shards go
    index: Path
    images: Path
    size: tuple[int, int]  # height, width in pixels
    seed: int
    config: Inpaint
    visible: Visible


@dataclass(frozen=True)
class Removal:
    """The instances to be removed from one image, and their union at the pair's size."""

    instance_ids: tuple[int, ...]
    mask: Mask


def plan_inpainted(params: InpaintParams, root: Path, index_root: Path) -> tuple[InpaintTask, list[ShardJob]]:
    """The task and its shards, from the parameters and the index."""
    index, size = Index(index_root), height_width(params.size_px)
    # Absolute: workers of a cluster started by hand may run in another folder.
    folders = root.absolute(), index_root.absolute(), Path(params.data.images).absolute()
    task = InpaintTask(*folders, size, params.seed, params.inpaint, params.visible)
    attributes = {
        "stage": "inpaint",
        "seed": params.seed,
        "parameters": {
            "size": list(size),
            "inpaint": params.inpaint.model_dump(),
            "visible": params.visible.model_dump(),
        },
        "inputs": {"index": index.digest},
        **provenance("inpaint"),
    }
    counts = {split: len(index.rows(split)) * params.inpaint.variants_per_image for split in SPLITS}
    return task, plan_shards(counts, params.inpaint.pairs_per_shard, attributes)


def build_inpainted_shard(job: ShardJob, task: InpaintTask) -> ShardEntry:
    """Make one shard of data/inpainted (runs on a Dask worker)."""
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    index = Index(task.index)
    items = range(job.part.first, job.part.stop)
    rows = [index.rows(job.part.split)[item // task.config.variants_per_image] for item in items]
    pair = np.empty((len(items), 2, *task.size, 3), np.uint8)
    removals: list[Removal | None] = []
    for place, (item, row) in enumerate(zip(items, rows, strict=True)):
        variant = item % task.config.variants_per_image
        if variant == 0 or place == 0:
            pair[place] = resize(read_indexed_image(task.images, index.image(row)), task.size)
            instances, masks = removable(index, row, task.size, crowds=task.config.crowds)
        else:
            pair[place] = pair[place - 1]
        rng = np.random.default_rng([task.seed, int(index.image_ids[row]), INPAINT, variant])
        removals.append(draw_removal(rng, instances, masks, task.config))
    mask = _fill(pair, removals, task)
    kind = np.where(mask.any(axis=(1, 2)), INPAINT, UNCHANGED).astype(np.uint8)
    pairs = Pairs(pair, mask, kind, index.image_ids[rows], np.full(len(items), NO_DONOR, np.int64))
    records = [{"removed": list(removal.instance_ids) if removal else []} for removal in removals]
    attributes = {**job.attributes, "fingerprint": job.fingerprint, "records": records}
    return write_shard(task.root, job.name, pairs, attributes, _outcomes(removals, kind))


def removable(index: Index, row: int, size: tuple[int, int], *, crowds: bool) -> tuple[list[InstanceRow], list[Mask]]:
    """The instances of an image that have a mask at `size` (height, width), with these masks."""
    found = [instance for instance in index.instances(row) if crowds or not instance.is_crowd]
    masks = [resize_mask(mask, size) for mask in index.masks(row, found)]
    kept = [(instance, mask) for instance, mask in zip(found, masks, strict=True) if mask.any()]
    return [instance for instance, _ in kept], [mask for _, mask in kept]


def draw_removal(
    rng: np.random.Generator, instances: Sequence[InstanceRow], masks: Sequence[Mask], config: Inpaint
) -> Removal | None:
    """Draw a set of 1 .. max_instances instances whose union has an allowed area; None when no draw has.

    The paper removes "a union mask of a random set of labeled instances" (appendix A).
    """
    most = min(config.max_instances, len(instances))
    for _ in range(config.tries if most else 0):
        chosen = rng.permutation(len(instances))[: rng.integers(1, most, endpoint=True)]
        union = np.logical_or.reduce([masks[number] for number in chosen])
        if config.area_share.low <= union.mean() <= config.area_share.high:
            return Removal(tuple(sorted(instances[number].instance_id for number in chosen)), union)
    return None


def remove(image: Image, filled: Image, removed: Mask, hole: Mask, visible: Visible) -> tuple[Image, Mask]:
    """The image without the objects, and the mask of what changed.

    Args:
        image: uint8 (H, W, 3).
        filled: the filler's output for `hole`.
        removed: the objects.
        hole: the objects and a rim around them: an object's edge bleeds into the pixels next to it.
        visible: what counts as visible.

    The rim is changed, and belongs to the mask, only where the filler made a visible difference there.
    """
    mask = removed | (hole & (contrast(image, filled) >= visible.min_contrast))
    return keep_visible(image, filled, mask, visible.min_contrast, visible.min_share)


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by a disc."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _fill(pair: np.ndarray[Any, np.dtype[np.uint8]], removals: Sequence[Removal | None], task: InpaintTask) -> Any:
    """Write the changed images into `pair[:, 1]` and return the masks, uint8 (N, H, W)."""
    places = [place for place, removal in enumerate(removals) if removal is not None]
    drawn = [removal for removal in removals if removal is not None]
    holes = [dilate(removal.mask, task.config.dilate_px) for removal in drawn]
    filled = make_filler(task.config)([pair[place, 0] for place in places], holes)
    mask = np.zeros((len(removals), *task.size), np.uint8)
    for place, removal, hole, fill in zip(places, drawn, holes, filled, strict=True):
        pair[place, 1], mask[place] = remove(pair[place, 0], fill, removal.mask, hole, task.visible)
    return mask


def _outcomes(removals: Sequence[Removal | None], kind: np.ndarray[Any, np.dtype[np.uint8]]) -> Counter[str]:
    """How many images were left as they are, and why."""
    left = [removal for removal, number in zip(removals, kind, strict=True) if number == UNCHANGED]
    undrawn = sum(removal is None for removal in left)
    outcomes = Counter({"no instances of an allowed area": undrawn, "removal not visible": len(left) - undrawn})
    return +outcomes  # without the zeros
