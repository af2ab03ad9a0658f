"""The pairs: which kind of change each gets, drawn again until it is a good one: data/inpainted -> data/pairs.

Item `i` of a split is pair `i % pairs_per_image` of its image `i // pairs_per_image`. Every draw starts from
[seed, image id, pair, kind, try]: no pair depends on its shard, its worker, or the mix of kinds around it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from configs.errors import BadRequest, Failure
from configs.synth import Synth, SynthParams
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.changes.change import Change, Unchanged, donor_of, draw_change, make_pair, to_record
from pipeline.changes.sources import Sources
from pipeline.shards import (
    INPAINT,
    KINDS,
    LOCAL,
    PASTE,
    UNCHANGED,
    NewPair,
    ShardEntry,
    ShardJob,
    made_by,
    plan_shards,
    write_shard,
)
from pipeline.source import SPLITS

IMAGES_AHEAD = 16  # read together, with all their variants
MIX = len(KINDS)  # the stream, beside those of the kinds, from which the kind itself is drawn
# What is tried instead when no good change of the wanted kind is found.
ORDER = {INPAINT: (INPAINT, PASTE, LOCAL), PASTE: (PASTE, INPAINT, LOCAL), LOCAL: (LOCAL, PASTE, INPAINT)}


@dataclass(frozen=True)
class SynthTask:
    """What is the same for all shards of data/pairs."""

    root: Path  # where the shards go
    index: Path
    inpainted: Path
    seed: int
    config: Synth
    visible: Visible


@dataclass(frozen=True)
class Made:
    """One finished pair."""

    change: Change
    original: Image
    changed: Image
    mask: Mask


def plan_pairs(
    params: SynthParams, root: Path, index_root: Path, inpainted_root: Path
) -> tuple[SynthTask, list[ShardJob]]:
    """The task and its shards, from the parameters, the index and the inpainted images.

    Raises:
        BadRequest: a split has a single image, which leaves none to paste or take texture from.
    """
    sources = Sources(index_root, inpainted_root)
    images = {split: len(sources.index.rows(split)) for split in SPLITS}
    if min(images.values()) < 2:
        raise BadRequest(f"{index_root}: {images} images; each split needs two, a pair's donor is another image of it")
    attributes = {
        "stage": "synth",
        "seed": params.seed,
        "parameters": {
            "size": list(sources.size),
            "synth": params.synth.model_dump(exclude={"store"}),
            "visible": params.visible.model_dump(),
        },
        "inputs": {"index": sources.index.digest, "inpainted": sources.digest},
        **made_by(__name__),
    }
    counts = {split: count * params.synth.pairs_per_image for split, count in images.items()}
    # Absolute: workers of a cluster started by hand may run in another folder.
    folders = root.absolute(), index_root.absolute(), inpainted_root.absolute()
    task = SynthTask(*folders, params.seed, params.synth, params.visible)
    return task, plan_shards(counts, params.synth.pairs_per_shard, attributes, params.synth.store)


def build_pair_shard(job: ShardJob, task: SynthTask) -> ShardEntry:
    """Make one shard of data/pairs (runs on a Dask worker)."""
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    sources = _sources(task.index, task.inpainted, job.attributes["inputs"]["inpainted"])
    rows = sources.index.rows(job.part.split)
    outcomes = Counter[str]()

    def pairs() -> Iterator[NewPair]:
        ahead = range(0)
        for item in range(job.part.first, job.part.stop):
            place, number = divmod(item, task.config.pairs_per_image)
            row = rows[place]
            if row not in ahead:
                last = (job.part.stop - 1) // task.config.pairs_per_image
                ahead = rows[place : min(place + IMAGES_AHEAD, last + 1)]
                sources.read_ahead(ahead)
            made = make_good_pair(row, number, task.seed, sources, task.config, task.visible, outcomes)
            if made is not None:
                yield as_new_pair(made)

    attributes = {**job.attributes, "fingerprint": job.fingerprint}
    return write_shard(task.root, job.name, sources.size, pairs(), attributes, outcomes, job.store)


def draw_kind(rng: np.random.Generator, config: Synth) -> int:
    """The kind of change a pair gets (paper, appendix A: object-level or local with chance 0.5).

    Three separate draws, so that raising one chance leaves the pairs it does not turn as they were.
    """
    unchanged, local, paste = rng.random(3)
    if unchanged < config.unchanged_prob:
        return UNCHANGED
    if local < config.local_prob:
        return LOCAL
    return PASTE if paste < config.paste_prob else INPAINT


def make_good_pair(
    row: int, number: int, seed: int, sources: Sources, config: Synth, visible: Visible, outcomes: Counter[str]
) -> Made | None:
    """Pair `number` of an image: the first drawn change whose mask has an allowed area.

    What was drawn in vain is counted in `outcomes`. None when no kind of change works.
    """
    image_id = int(sources.index.image_ids[row])
    wanted = draw_kind(np.random.default_rng([seed, image_id, number, MIX, 0]), config)
    if wanted == UNCHANGED:
        change = Unchanged(image_id)
        return Made(change, *make_pair(change, sources, visible))
    for kind in ORDER[wanted]:
        for attempt in range(config.tries):
            rng = np.random.default_rng([seed, image_id, number, kind, attempt])
            drawn = draw_change(kind, row, number + attempt, rng, sources, config)
            made = Made(drawn, *make_pair(drawn, sources, visible))
            fault = area_fault(made.mask, config)
            if fault is None:
                return made
            outcomes[f"{KINDS[kind]} drawn again: {fault}"] += 1
        outcomes[f"{KINDS[kind]} given up for another kind"] += 1
    outcomes["pair given up"] += 1
    return None


def area_fault(mask: Mask, config: Synth) -> str | None:
    """What is wrong with a mask's area, if anything."""
    share = mask.mean()
    if share < config.area_share.low:
        return "nothing visible" if share == 0 else "mask too small"
    return "mask too large" if share > config.area_share.high else None


@lru_cache(maxsize=1)
def _sources(index: Path, inpainted: Path, digest: str) -> Sources:
    """Opened once per process: a shard's donors lie in as many other shards, and opening each takes milliseconds."""
    sources = Sources(index, inpainted)
    if sources.digest != digest:
        raise Failure(f"{inpainted}: changed since the run began; run `dvc repro` again")
    return sources


def as_new_pair(made: Made) -> NewPair:
    """A finished pair as the shard takes it."""
    change = made.change
    return NewPair(
        made.original,
        made.changed,
        made.mask,
        kind=KINDS.index(change.kind),
        image_id=change.image_id,
        donor_id=donor_of(change),
        record=to_record(change),
    )
