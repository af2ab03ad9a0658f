"""Objects removed from images (paper, section 3.3, "disappearance"): data/index -> data/inpainted.

Item `i` of a split is variant `i % variants_per_image` of its image `i // variants_per_image`, so the place of an
image's variants follows from the index alone. An image of which nothing can be removed is there too, as it is.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from configs.inpaint import Inpaint, InpaintParams
from configs.section import height_width
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.build import Part, ShardJob, plan_shards
from pipeline.fillers import make_filler
from pipeline.images import resize, resize_mask
from pipeline.index import SPLITS, Index, InstanceRow, read_indexed_image
from pipeline.provenance import provenance
from pipeline.shard_writer import NewPair, write_shard
from pipeline.shards import INPAINT, NO_DONOR, UNCHANGED, ShardEntry
from pipeline.visible import contrast, keep_visible

BATCH = 16  # images handed to the filler at a time


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
            "inpaint": params.inpaint.model_dump(exclude={"store"}),
            "visible": params.visible.model_dump(),
        },
        "inputs": {"index": index.digest},
        **provenance("inpaint"),
    }
    counts = {split: len(index.rows(split)) * params.inpaint.variants_per_image for split in SPLITS}
    return task, plan_shards(counts, params.inpaint.pairs_per_shard, attributes, params.inpaint.store)


def build_inpainted_shard(job: ShardJob, task: InpaintTask) -> ShardEntry:
    """Make one shard of data/inpainted (runs on a Dask worker)."""
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    index, outcomes = Index(task.index), Counter[str]()
    pairs = _filled(_drawn(index, job.part, task), task, outcomes)
    attributes = {**job.attributes, "fingerprint": job.fingerprint}
    return write_shard(task.root, job.name, task.size, pairs, attributes, outcomes, job.store)


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


def _drawn(index: Index, part: Part, task: InpaintTask) -> Iterator[tuple[int, Image, Removal | None]]:
    """Every item of a part: image id, the image at the pairs' size, and what to remove from it."""
    rows, variants = index.rows(part.split), task.config.variants_per_image
    for item in range(part.first, part.stop):
        row, variant = rows[item // variants], item % variants
        if variant == 0 or item == part.first:
            image = resize(read_indexed_image(task.images, index.image(row)), task.size)
            instances, masks = removable(index, row, task.size, crowds=task.config.crowds)
        image_id = int(index.image_ids[row])
        rng = np.random.default_rng([task.seed, image_id, INPAINT, variant])
        yield image_id, image, draw_removal(rng, instances, masks, task.config)


def _filled(
    drawn: Iterator[tuple[int, Image, Removal | None]], task: InpaintTask, outcomes: Counter[str]
) -> Iterator[NewPair]:
    """The pairs, a batch of the filler at a time; images that stay as they are are counted with their reason."""
    filler = make_filler(task.config)
    while batch := list(islice(drawn, BATCH)):
        work = [(image, removal.mask) for _, image, removal in batch if removal is not None]
        holes = [dilate(mask, task.config.dilate_px) for _, mask in work]
        fills = zip(filler([image for image, _ in work], holes), holes, strict=True)
        for image_id, image, removal in batch:
            changed, mask = image, np.zeros(task.size, np.bool_)
            if removal is None:
                outcomes["no instances of an allowed area"] += 1
            else:
                filled, hole = next(fills)
                changed, mask = remove(image, filled, removal.mask, hole, task.visible)
                if not mask.any():
                    outcomes["removal not visible"] += 1
            record = {"removed": list(removal.instance_ids) if removal else []}
            yield NewPair(image, changed, mask, INPAINT if mask.any() else UNCHANGED, image_id, NO_DONOR, record)
