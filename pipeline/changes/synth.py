"""The pairs: which kind of change each gets, drawn again until it is a good one: data/inpainted -> data/pairs.

Pair `number` of an image draws from [seed, image id, number, kind, try]: no pair depends on its shard, its worker, or
other images' pairs. Of its own image's it depends in one thing: no removal of objects is given out twice.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.errors import BadRequest, Failure
from configs.synth import Synth, SynthParams
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.changes.change import Change, InpaintChange, Unchanged, donor_of, draw_change, make_pair, to_record
from pipeline.changes.sources import Sources
from pipeline.shards import (
    INPAINT,
    KINDS,
    LOCAL,
    PASTE,
    UNCHANGED,
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
from pipeline.source import SPLITS

IMAGES_AHEAD = 16  # read together, with all their variants
MIX = 1 << 16  # the stream from which the kind itself is drawn: far from the numbers of kinds, of which more may come
# What is tried instead when no good change of the wanted kind is found.
ORDER = {INPAINT: (PASTE, LOCAL), PASTE: (PASTE, LOCAL), LOCAL: (LOCAL, PASTE)}


@dataclass(frozen=True)
class SynthTask:
    """What is the same for all shards of data/pairs."""

    shelf: Path  # where the shards go
    index: Path
    inpainted: Path
    seed: int
    config: Synth
    visible: Visible


@dataclass(frozen=True)
class Mix:
    """What a pair draws for its kind: three numbers in [0, 1), each held against one chance."""

    unchanged: float
    local: float
    paste: float


@dataclass(frozen=True)
class Made:
    """One finished pair."""

    change: Change
    original: Image
    changed: Image
    mask: Mask


def plan_pairs(
    params: SynthParams, shelf: Path, index_root: Path, inpainted_root: Path
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
            "synth": params.synth.model_dump(exclude={"store", "pairs_per_shard"}),
            "visible": params.visible.model_dump(),
        },
        # Donors are any images of the split: a shard depends on all of both.
        "inputs": {"index": sources.index.digest, "inpainted": sources.digest},
        **made_by(__name__),
    }

    def of_part(part: Part) -> dict[str, Any]:
        return {"rows": sources.index.digest_of(part.split, part.first, part.stop)}

    ranks = {split: sources.index.ranks(split) for split in SPLITS}
    # Absolute: workers of a cluster started by hand may run in another folder.
    folders = shelf.absolute(), index_root.absolute(), inpainted_root.absolute()
    task = SynthTask(*folders, params.seed, params.synth, params.visible)
    images_per_shard = max(1, params.synth.pairs_per_shard // params.synth.pairs_per_image)
    return task, plan_shards(ranks, images_per_shard, attributes, of_part, params.synth.store)


def build_pair_shard(job: ShardJob, task: SynthTask) -> ShardEntry:
    """Make one shard of data/pairs (runs on a Dask worker).

    Raises:
        Failure: this process runs other code than the job is of; or data/inpainted has changed.
    """
    refuse_other_code(job.attributes)
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    sources = _sources(task.index, task.inpainted, job.attributes["inputs"]["inpainted"])
    rows = sources.index.rows(job.part.split)[job.part.first : job.part.stop]
    outcomes = Counter[str]()

    def pairs() -> Iterator[NewPair]:
        for first in range(0, len(rows), IMAGES_AHEAD):
            together = rows[first : first + IMAGES_AHEAD]
            sources.read_ahead(together)
            for row in together:
                yield from map(as_new_pair, make_pairs(row, task.seed, sources, task.config, task.visible, outcomes))

    attributes = {**job.attributes, "fingerprint": job.fingerprint, "made_on": machine()}
    key = shelf_name(job.fingerprint)
    made = write_shard(task.shelf, key, sources.size, pairs(), attributes, outcomes, job.store)
    return replace(made, name=job.name)


def draw_mix(rng: np.random.Generator) -> Mix:
    """Draw what decides a pair's kind."""
    return Mix(*(float(number) for number in rng.random(3)))


def kind_of(mix: Mix, config: Synth) -> int:
    """The kind of change a pair gets (paper, appendix A: object-level or local with chance 0.5).

    Each chance has a number of its own, so that raising one leaves the pairs that it does not turn as they were.
    """
    if mix.unchanged < config.unchanged_prob:
        return UNCHANGED
    if mix.local < config.local_prob:
        return LOCAL
    return PASTE if mix.paste < config.paste_prob else INPAINT


def turns_at_removals(mixes: Sequence[Mix], config: Synth) -> list[int]:
    """The pairs of an image that would be inpainted if none were local, in the order in which they take removals.

    Those that stay inpainted longest as `local_prob` is raised come first. So the pairs that do not turn local keep
    their removals, and those that are taken leave no gap.
    """
    candidates = [number for number, mix in enumerate(mixes) if kind_of(replace(mix, local=1.0), config) == INPAINT]
    return sorted(candidates, key=lambda number: mixes[number].local, reverse=True)


def make_pairs(
    row: int, seed: int, sources: Sources, config: Synth, visible: Visible, outcomes: Counter[str]
) -> Iterator[Made]:
    """The pairs of an image, in order; what was drawn in vain is counted in `outcomes`."""
    image_id = int(sources.index.image_ids[row])
    keys = [[seed, image_id, number, MIX, 0] for number in range(config.pairs_per_image)]
    mixes = [draw_mix(np.random.default_rng(key)) for key in keys]
    turns = {number: turn for turn, number in enumerate(turns_at_removals(mixes, config))}
    removals: list[Made] | None = None
    for number, mix in enumerate(mixes):
        kind = kind_of(mix, config)
        if kind == UNCHANGED:
            change = Unchanged(image_id)
            yield Made(change, *make_pair(change, sources, visible))
            continue
        if kind == INPAINT:
            removals = good_removals(row, sources, config, visible, outcomes) if removals is None else removals
            if turns[number] < len(removals):
                yield removals[turns[number]]
                continue
            outcomes["inpaint given up for another kind: no other set of objects"] += 1
        made = draw_good_pair(ORDER[kind], row, number, seed, sources, config, visible, outcomes)
        if made is not None:
            yield made


def good_removals(row: int, sources: Sources, config: Synth, visible: Visible, outcomes: Counter[str]) -> list[Made]:
    """Every removal of an image whose mask has an allowed area, no two that look the same."""
    image_id = int(sources.index.image_ids[row])
    found: dict[bytes, Made] = {}
    for variant in range(sources.variants(row)):
        change = InpaintChange(image_id, variant)
        made = Made(change, *make_pair(change, sources, visible))
        fault = area_fault(made.mask, config)
        if fault is None and found.setdefault(made.changed.tobytes(), made) is not made:
            fault = "same as another"
        if fault is not None:
            outcomes[f"inpaint left out: {fault}"] += 1
    return list(found.values())


def draw_good_pair(
    kinds: Sequence[int],
    row: int,
    number: int,
    seed: int,
    sources: Sources,
    config: Synth,
    visible: Visible,
    outcomes: Counter[str],
) -> Made | None:
    """Pair `number` of an image: the first drawn change of the first of `kinds` whose mask has an allowed area.

    None when no kind of change works.
    """
    image_id = int(sources.index.image_ids[row])
    for kind in kinds:
        for attempt in range(config.tries):
            rng = np.random.default_rng([seed, image_id, number, kind, attempt])
            drawn = draw_change(kind, row, rng, sources, config)
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


@lru_cache(maxsize=1)
def _sources(index: Path, inpainted: Path, digest: str) -> Sources:
    """Opened once per process: a shard's donors lie in as many other shards, and opening each takes milliseconds."""
    sources = Sources(index, inpainted)
    if sources.digest != digest:
        raise Failure(f"{inpainted}: changed since the run began; run `dvc repro` again")
    return sources
