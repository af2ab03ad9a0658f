"""Objects removed from images (paper, section 3.3, "disappearance"): data/index -> data/inpainted.

An image gives one pair for each set of objects that is removed from it, no set twice, and at least one: an image of
which nothing can be removed is there as it is. What counts as a visible change is judged by whoever takes a pair from
here, so another judgement fills nothing again.

`mask` is where the filler was asked to paint: the removed objects and a rim around them. The shards hold one more
array, `objects`, uint8 (N, H, W): 1 where the removed objects were.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.inpaint import Inpaint, InpaintParams
from pipeline.arrays import Image, Mask, height_width
from pipeline.changes.fillers import LAMA_LIBRARIES, Filler, Weights, device_of_lama, find_weights, make_filler
from pipeline.changes.removal import INPAINT, OBJECTS, UNCHANGED
from pipeline.changes.visible import put
from pipeline.shards import (
    NO_DONOR,
    Form,
    NewPair,
    Part,
    ShardEntry,
    ShardJob,
    machine,
    made_by,
    plan_shards,
    refuse_other_code,
    shelf_name,
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
from pipeline.steps import step

IMAGES_AT_ONCE, BYTES_AT_ONCE = 32, 64 << 20  # handed to the filler together, at most; LaMa's batches are made of them
FOR_REMOVALS = 1  # third word of the keys of its draws
MOST_SETS = 1000  # of objects; of fewer, all are tried where draws do not find enough


@dataclass(frozen=True)
class InpaintTask:
    """What is the same for all shards of data/inpainted."""

    shelf: Path  # where the shards go
    index: Path
    images: Path
    size: tuple[int, int]  # height, width in pixels
    seed: int
    config: Inpaint
    weights: Weights | None  # of LaMa


@dataclass(frozen=True)
class Removal:
    """What is to be removed from one image."""

    image_id: int
    group: str
    instance_ids: tuple[int, ...]  # none: the image stays as it is
    original: Image  # at the pairs' size
    objects: Mask  # the union of the instances, at the pairs' size
    canvas: Image  # the image at the size at which it is filled
    hole: Mask  # what is filled: the objects, dilated


def plan_inpainted(params: InpaintParams, shelf: Path, index_root: Path) -> tuple[InpaintTask, list[ShardJob]]:
    """The task and its shards, from the parameters and the index.

    Raises:
        BadRequest: `inpaint.filler` is lama and its weights are not there.
    """
    task = inpaint_task(params, shelf, index_root)
    index, weights = Index(index_root), task.weights
    attributes = {
        "stage": "inpaint",
        "seed": params.seed,
        "parameters": {
            "size": list(task.size),
            # Neither where the weights lie nor how and where the shards go makes the pixels.
            "inpaint": params.inpaint.model_dump(exclude={"lama_weights", "store", "pairs_per_shard"}),
        },
        **made_by(__name__, LAMA_LIBRARIES if weights else ()),
    }

    def of_part(part: Part) -> dict[str, Any]:
        rows = index.digest_of(part.split, part.first, part.stop)
        return {"inputs": {"rows": rows, "lama_sha256": weights.sha256 if weights else None}}

    ranks = {split: index.ranks(split) for split in SPLITS}
    images_per_shard = max(1, params.inpaint.pairs_per_shard // params.inpaint.variants_per_image)
    return task, plan_shards(ranks, images_per_shard, attributes, of_part, params.inpaint.store)


def inpaint_task(params: InpaintParams, shelf: Path, index_root: Path) -> InpaintTask:
    """What is the same for all shards; raises as `plan_inpainted`."""
    # Absolute: workers of a cluster started by hand may run in another folder.
    folders = shelf.absolute(), index_root.absolute(), Path(params.data.images).absolute()
    size = height_width(params.size_px)
    weights = find_weights(params.inpaint) if Index(index_root).summary["instances"] else None
    return InpaintTask(*folders, size, params.seed, params.inpaint, weights)


def build_inpainted_shard(job: ShardJob, task: InpaintTask) -> ShardEntry:
    """Make one shard of data/inpainted (runs on a Dask worker).

    Raises:
        Failure: this process runs other code than the job is of; or an image has changed since it was indexed.
    """
    refuse_other_code(job.attributes)
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    outcomes = Counter[str]()
    index = Index(task.index)
    pairs = _filled(_drawn(index, job.part, task, outcomes), task)
    device = device_of_lama() if task.weights else "cpu"
    attributes = {**job.attributes, "fingerprint": job.fingerprint, "made_on": machine(device)}
    form = Form(task.size, (UNCHANGED, INPAINT), index.groups, {OBJECTS: task.size})
    made = write_shard(task.shelf, shelf_name(job.fingerprint), form, pairs, attributes, outcomes, job.store)
    return replace(made, name=job.name)


def draw_removals(
    rng: np.random.Generator, instances: Sequence[InstanceRow], size: tuple[int, int], config: Inpaint
) -> list[tuple[InstanceRow, ...]]:
    """Draw sets of instances to be removed, each of 1 .. max_instances and with a union of an allowed area.

    The paper removes "a union mask of a random set of labeled instances" (appendix A). No union is drawn twice; there
    are `variants_per_image` sets, or as many as the image has. More of them only add to fewer.

    Args:
        rng: draws.
        instances: those of one image.
        size: height and width of that image as stored.
        config: how many, of which area, and whether crowds take part.
    """
    usable = [instance for instance in instances if config.crowds or not instance.is_crowd]
    most = min(config.max_instances or len(usable), len(usable))
    found: dict[bytes, tuple[InstanceRow, ...]] = {}
    for chosen in _choices(rng, len(usable), most, config.tries * config.variants_per_image):
        drawn = tuple(usable[number] for number in sorted(chosen))
        counts = union([instance.counts for instance in drawn], *size)
        share = mask_area(counts, *size) / (size[0] * size[1])
        if config.area_share.low <= share <= config.area_share.high:
            found.setdefault(counts, drawn)
        if len(found) == config.variants_per_image:
            break
    return list(found.values())


def dilate(mask: Mask, radius_px: int) -> Mask:
    """Grow a mask by a disc."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    return cv2.dilate(mask.view(np.uint8), disc) > 0


def _choices(rng: np.random.Generator, count: int, most: int, draws: int) -> Iterator[Sequence[int]]:
    """Sets of 1 .. `most` of `count` things: `draws` random ones, then all, in random order, if these are few."""
    if not count:
        return
    for _ in range(draws):
        yield rng.permutation(count)[: rng.integers(1, most, endpoint=True)].tolist()
    if sum(comb(count, size) for size in range(1, most + 1)) <= MOST_SETS:
        every = [chosen for size in range(1, most + 1) for chosen in combinations(range(count), size)]
        yield from (every[place] for place in rng.permutation(len(every)))


def _drawn(index: Index, part: Part, task: InpaintTask, outcomes: Counter[str]) -> Iterator[Removal]:
    """What to remove from the images of a part; images that are to stay as they are are counted."""
    for row in index.rows(part.split)[part.first : part.stop]:
        known, instances = index.image(row), index.instances(row)
        with step("read"):
            stored = read_indexed_image(task.images, known)
            original = resize(stored, task.size)
        rng = np.random.default_rng([task.seed, known.image_id, FOR_REMOVALS, 0])
        drawn = draw_removals(rng, instances, (known.height, known.width), task.config)
        if not drawn:
            outcomes["no set of instances of an allowed area"] += 1
        for removed in drawn or [()]:
            at_full_size = index.union(row, removed)
            objects = resize_mask(at_full_size, task.size)
            canvas, hole = (stored, at_full_size) if task.config.fill_at == "native" else (original, objects)
            names = tuple(instance.instance_id for instance in removed)
            yield Removal(
                known.image_id, known.group, names, original, objects, canvas, dilate(hole, task.config.dilate_px)
            )


def _filled(removals: Iterator[Removal], task: InpaintTask) -> Iterator[NewPair]:
    """The pairs."""
    filler: Filler | None = None  # where nothing is removed LaMa is not needed
    for batch in _batches(removals):
        wanted = [removal for removal in batch if removal.instance_ids]
        if wanted and filler is None:
            filler = make_filler(task.config, task.weights)
        canvases, holes = [removal.canvas for removal in wanted], [removal.hole for removal in wanted]
        with step("fill"):
            fills = iter(filler(canvases, holes) if filler is not None else ())
        for removal in batch:
            changed, hole = removal.original, np.zeros(task.size, np.bool_)
            if removal.instance_ids:
                hole = touched(removal.hole, task.size)
                changed = put(removal.original, resize(next(fills), task.size), hole)
            yield NewPair(
                original=removal.original,
                changed=changed,
                mask=hole,
                kind=INPAINT if removal.instance_ids else UNCHANGED,
                group=removal.group,
                image_id=removal.image_id,
                donor_id=NO_DONOR,
                record={"removed": list(removal.instance_ids)},
                more={OBJECTS: removal.objects},
            )


def _batches(removals: Iterator[Removal]) -> Iterator[list[Removal]]:
    """Removals in their order, few enough of a time for their canvases to fit BYTES_AT_ONCE."""
    batch: list[Removal] = []
    held = 0
    for removal in removals:
        if batch and (len(batch) == IMAGES_AT_ONCE or held + removal.canvas.nbytes > BYTES_AT_ONCE):
            yield batch
            batch, held = [], 0
        batch.append(removal)
        held += removal.canvas.nbytes
    if batch:
        yield batch
