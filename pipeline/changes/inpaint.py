"""Objects removed from images (paper, section 3.3, "disappearance"): data/index -> data/inpainted.

Item `i` of a split is variant `i % variants_per_image` of its image `i // variants_per_image`, so the place of an
image's variants follows from the index alone. An image of which nothing can be removed is there too, as it is.

The shards hold one more array, `filler_mask`, uint8 (N, H, W): 1 where the filler was asked to paint, the removed
objects and a rim around them. `mask` is the change mask: the pixels that differ, where the difference can be seen.
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
from pipeline.changes.fillers import Weights, find_weights, make_filler
from pipeline.changes.visible import contrast, keep_visible
from pipeline.shards import (
    INPAINT,
    NO_DONOR,
    UNCHANGED,
    NewPair,
    Part,
    ShardEntry,
    ShardJob,
    made_by,
    plan_shards,
    write_shard,
)
from pipeline.source import (
    SPLITS,
    Index,
    InstanceRow,
    mask_area,
    read_indexed_image,
    resize,
    resize_mask,
    touched,
    union,
)

FILLER_MASK = "filler_mask"
IMAGES_AT_ONCE = 32  # handed to the filler together; LaMa's batches are made of them


@dataclass(frozen=True)
class InpaintTask:
    """What is the same for all shards of data/inpainted."""

    root: Path  # where the shards go
    index: Path
    images: Path
    size: tuple[int, int]  # height, width in pixels
    seed: int
    config: Inpaint
    weights: Weights | None  # of LaMa
    visible: Visible


@dataclass(frozen=True)
class Removal:
    """What is to be removed from one image."""

    image_id: int
    instance_ids: tuple[int, ...]  # none: the image stays as it is
    original: Image  # at the pairs' size
    objects: Mask  # the union of the instances, at the pairs' size
    canvas: Image  # the image at the size at which it is filled
    hole: Mask  # what is filled: the objects, dilated


def plan_inpainted(params: InpaintParams, root: Path, index_root: Path) -> tuple[InpaintTask, list[ShardJob]]:
    """The task and its shards, from the parameters and the index.

    Raises:
        BadRequest: `inpaint.filler` is lama and its weights are not there.
    """
    index, size, weights = Index(index_root), height_width(params.size_px), find_weights(params.inpaint)
    # Absolute: workers of a cluster started by hand may run in another folder.
    folders = root.absolute(), index_root.absolute(), Path(params.data.images).absolute()
    task = InpaintTask(*folders, size, params.seed, params.inpaint, weights, params.visible)
    attributes = {
        "stage": "inpaint",
        "seed": params.seed,
        "parameters": {
            "size": list(size),
            # Neither where the weights lie nor where the shards go makes the pixels.
            "inpaint": params.inpaint.model_dump(exclude={"lama_weights", "store"}),
            "visible": params.visible.model_dump(),
        },
        "inputs": {"index": index.digest, "lama_sha256": weights.sha256 if weights else None},
        **made_by(__name__),
    }
    counts = {split: len(index.rows(split)) * params.inpaint.variants_per_image for split in SPLITS}
    return task, plan_shards(counts, params.inpaint.pairs_per_shard, attributes, params.inpaint.store)


def build_inpainted_shard(job: ShardJob, task: InpaintTask) -> ShardEntry:
    """Make one shard of data/inpainted (runs on a Dask worker)."""
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    outcomes = Counter[str]()
    pairs = _filled(_drawn(Index(task.index), job.part, task), task, outcomes)
    attributes = {**job.attributes, "fingerprint": job.fingerprint}
    return write_shard(task.root, job.name, task.size, pairs, attributes, outcomes, job.store)


def draw_removal(
    rng: np.random.Generator, instances: Sequence[InstanceRow], size: tuple[int, int], config: Inpaint
) -> tuple[InstanceRow, ...]:
    """Draw a set of 1 .. max_instances instances whose union has an allowed area; none when no draw has.

    The paper removes "a union mask of a random set of labeled instances" (appendix A).

    Args:
        rng: draws.
        instances: those of one image.
        size: height and width of that image as stored.
        config: how many, of which area, and whether crowds take part.
    """
    usable = [instance for instance in instances if config.crowds or not instance.is_crowd]
    most = min(config.max_instances, len(usable))
    for _ in range(config.tries if most else 0):
        chosen = rng.permutation(len(usable))[: rng.integers(1, most, endpoint=True)]
        drawn = tuple(usable[number] for number in sorted(chosen))
        share = mask_area(union([instance.counts for instance in drawn], *size), *size) / (size[0] * size[1])
        if config.area_share.low <= share <= config.area_share.high:
            return drawn
    return ()


def remove(image: Image, filled: Image, objects: Mask, hole: Mask, visible: Visible) -> tuple[Image, Mask]:
    """The image without the objects, and the mask of what changed.

    Args:
        image: uint8 (H, W, 3).
        filled: the filler's output for `hole`.
        objects: the pixels to be replaced.
        hole: the objects and a rim around them: an object's edge bleeds into the pixels next to it.
        visible: what counts as visible.

    The rim is changed, and belongs to the mask, only where the filler made a visible difference there.
    """
    mask = objects | (hole & (contrast(image, filled) >= visible.min_contrast))
    return keep_visible(image, filled, mask, visible.min_contrast, visible.min_share)


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by a disc."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.view(np.uint8), disc) > 0


def _drawn(index: Index, part: Part, task: InpaintTask) -> Iterator[Removal]:
    """What to remove, for every item of a part."""
    rows, variants = index.rows(part.split), task.config.variants_per_image
    for item in range(part.first, part.stop):
        row, variant = rows[item // variants], item % variants
        if variant == 0 or item == part.first:
            known, instances = index.image(row), index.instances(row)
            stored = read_indexed_image(task.images, known)
            original = resize(stored, task.size)
        rng = np.random.default_rng([task.seed, known.image_id, INPAINT, variant])
        drawn = draw_removal(rng, instances, (known.height, known.width), task.config)
        at_full_size = index.union(row, drawn)
        objects = resize_mask(at_full_size, task.size)
        canvas, hole = (stored, at_full_size) if task.config.fill_at == "native" else (original, objects)
        names = tuple(instance.instance_id for instance in drawn)
        yield Removal(known.image_id, names, original, objects, canvas, dilate(hole, task.config.dilate_px))


def _filled(removals: Iterator[Removal], task: InpaintTask, outcomes: Counter[str]) -> Iterator[NewPair]:
    """The pairs; images that stay as they are are counted with their reason."""
    filler = make_filler(task.config, task.weights)
    while batch := list(islice(removals, IMAGES_AT_ONCE)):
        wanted = [removal for removal in batch if removal.instance_ids]
        fills = iter(filler([removal.canvas for removal in wanted], [removal.hole for removal in wanted]))
        for removal in batch:
            changed, mask, hole = removal.original, np.zeros(task.size, np.bool_), np.zeros(task.size, np.bool_)
            if removal.instance_ids:
                hole = touched(removal.hole, task.size)
                filled = resize(next(fills), task.size)
                changed, mask = remove(removal.original, filled, removal.objects, hole, task.visible)
            if not mask.any():
                reason = "removal not visible" if removal.instance_ids else "no instances of an allowed area"
                outcomes[reason] += 1
            yield NewPair(
                original=removal.original,
                changed=changed,
                mask=mask,
                kind=INPAINT if mask.any() else UNCHANGED,
                image_id=removal.image_id,
                donor_id=NO_DONOR,
                record={"removed": list(removal.instance_ids)},
                extra={FILLER_MASK: hole},
            )
