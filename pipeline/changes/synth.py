"""The pairs: which kind of change each gets, drawn again until it is a good one: data/inpainted -> data/pairs.

Pair `number` of an image draws from [seed, image id, number, kind, try]: no pair depends on its shard, its worker, or
other images' pairs. Of its own image's it depends in one thing: no removal of objects is given out twice.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.errors import BadRequest, Failure
from configs.synth import Synth, SynthParams
from configs.visible import Visible
from pipeline.changes.change import (
    KINDS,
    LOCAL,
    PASTE,
    InpaintChange,
    Made,
    PairRecord,
    Unchanged,
    draw_change,
    make_pair,
    prompt_is,
    to_record,
)
from pipeline.changes.defects import CUTPASTE, DEFECTS
from pipeline.changes.facts import Drawn, facts_about
from pipeline.changes.ground import draw_ground
from pipeline.changes.removal import INPAINT, UNCHANGED
from pipeline.changes.sources import Sources
from pipeline.changes.variation import draw_variation
from pipeline.shards import (
    FACTS,
    NO_DONOR,
    PROMPT,
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
from pipeline.source import SPLITS
from pipeline.steps import step

IMAGES_AHEAD = 16  # read together, with all their variants
# Streams of a pair beside those of its changes, which are keyed by the number of their kind: far from these.
FOR_MIX, FOR_GROUND, FOR_VARIATION = (1 << 16) + np.arange(3)


@dataclass(frozen=True)
class SynthTask:
    """What is the same for all shards of data/pairs."""

    shelf: Path  # where the shards go
    index: Path
    inpainted: Path
    textures: Path | None
    seed: int
    config: Synth
    visible: Visible


@dataclass(frozen=True)
class Mix:
    """What a pair draws for its kind: numbers in [0, 1), each held against one chance."""

    unchanged: float
    local: float
    paste: float
    defect: float
    which: float  # of the kinds of defects
    ground: float
    variation: float
    cutpaste: float


def plan_pairs(
    params: SynthParams, shelf: Path, index_root: Path, inpainted_root: Path
) -> tuple[SynthTask, list[ShardJob]]:
    """The task and its shards, from the parameters, the index and the inpainted images.

    Raises:
        BadRequest: a split has a single image, which leaves none to paste or take texture from; or the parameters name
            an unknown kind of defect.
    """
    check_defects(params.synth)
    named = params.synth.local.texture_folder
    textures = None if named is None else Path(named).absolute()
    sources = Sources(index_root, inpainted_root, textures)
    images = {split: len(sources.index.rows(split)) for split in SPLITS}
    if min(images.values()) < 2:
        raise BadRequest(f"{index_root}: {images} images; each split needs two, a pair's donor is another image of it")
    attributes = {
        "stage": "synth",
        "seed": params.seed,
        "parameters": {
            "size": list(sources.size),
            "synth": params.synth.model_dump(
                exclude={"store": True, "pairs_per_shard": True, "local": {"texture_folder"}}
            ),
            "visible": params.visible.model_dump(),
        },
        # Donors are any images of the split: a shard depends on all of both.
        "inputs": sources.digests,
        "inpainted_with": sources.filled_with,
        "names": sources.rights.names,
        **made_by(__name__),
    }

    def of_part(part: Part) -> dict[str, Any]:
        return {"rows": sources.index.digest_of(part.split, part.first, part.stop)}

    ranks = {split: sources.index.ranks(split) for split in SPLITS}
    # Absolute: workers of a cluster started by hand may run in another folder.
    folders = shelf.absolute(), index_root.absolute(), inpainted_root.absolute()
    task = SynthTask(*folders, textures, params.seed, params.synth, params.visible)
    images_per_shard = max(1, params.synth.pairs_per_shard // params.synth.pairs_per_image)
    return task, plan_shards(ranks, images_per_shard, attributes, of_part, params.synth.store)


def build_pair_shard(job: ShardJob, task: SynthTask) -> ShardEntry:
    """Make one shard of data/pairs (runs on a Dask worker).

    Raises:
        Failure: this process runs other code than the job is of; or data/inpainted has changed.
    """
    refuse_other_code(job.attributes)
    cv2.setNumThreads(1)  # the worker processes are the parallelism
    inputs = job.attributes["inputs"]
    sources = _sources(task.index, task.inpainted, task.textures, tuple(sorted(inputs.items())))
    rows = sources.index.rows(job.part.split)[job.part.first : job.part.stop]
    outcomes = Counter[str]()

    def pairs() -> Iterator[NewPair]:
        for first in range(0, len(rows), IMAGES_AHEAD):
            together = rows[first : first + IMAGES_AHEAD]
            with step("read"):
                sources.read_ahead(together)
            for row in together:
                group = sources.index.image(row).group
                for drawn in make_pairs(row, task.seed, sources, task.config, task.visible, outcomes):
                    yield as_new_pair(drawn, group, sources)

    attributes = {**job.attributes, "fingerprint": job.fingerprint, "made_on": machine()}
    key = shelf_name(job.fingerprint)
    form = Form(sources.size, KINDS, sources.index.groups, {PROMPT: (*sources.size, 3)})
    made = write_shard(task.shelf, key, form, pairs(), attributes, outcomes, job.store)
    return replace(made, name=job.name)


def check_defects(config: Synth) -> None:
    """Raises BadRequest where the weights of defects are of none that there is, or of all together nothing."""
    unknown = [name for name in config.defects if name not in DEFECTS]
    if unknown:
        raise BadRequest(f"synth.defects: {unknown[0]} is no kind of defect; there are {', '.join(DEFECTS)}")
    if config.defect_prob and not sum(config.defects.values()):
        raise BadRequest(f"synth.defect_prob = {config.defect_prob}, but no kind in synth.defects has a weight")


def draw_mix(rng: np.random.Generator) -> Mix:
    """Draw what decides a pair's kind, and what it shows."""
    return Mix(*(float(number) for number in rng.random(len(fields(Mix)))))


def kind_of(mix: Mix, config: Synth) -> str:
    """The kind of change a pair gets (paper, appendix A: object-level or local with chance 0.5; defects are ours).

    Each chance has a number of its own, so that raising one leaves the pairs that it does not turn as they were, but
    for what `turns_at_removals` says.
    """
    if mix.unchanged < config.unchanged_prob:
        return UNCHANGED
    if mix.cutpaste < config.cutpaste_prob:
        return CUTPASTE
    if mix.defect < config.defect_prob:
        names = [name for name in DEFECTS if config.defects.get(name)]
        ends = np.cumsum([config.defects[name] for name in names])
        return names[int(np.searchsorted(ends, mix.which * ends[-1], side="right"))]
    if mix.local < config.local_prob:
        return LOCAL
    return PASTE if mix.paste < config.paste_prob else INPAINT


def others(kind: str) -> tuple[str, ...]:
    """What is tried instead when no good change of a kind is found, itself first."""
    if kind in (INPAINT, PASTE):
        return (PASTE, LOCAL)
    return (LOCAL, PASTE) if kind == LOCAL else (kind, LOCAL, PASTE)


def turns_at_removals(mixes: Sequence[Mix], config: Synth) -> list[int]:
    """The pairs of an image that would be inpainted if none were local, a defect or a cut-paste, in the order in which
    they take removals.

    The pairs that a raised `local_prob`, `defect_prob` or `cutpaste_prob` does not turn keep theirs; a raised
    `paste_prob` or `unchanged_prob` hands on what it frees. Those that stay inpainted longest as `local_prob` is raised
    come first, so that of these no removal is left over; a defect or a cut-paste leaves the one of its turn.
    """
    bare = [replace(mix, local=1.0, defect=1.0, cutpaste=1.0) for mix in mixes]
    candidates = [number for number, mix in enumerate(bare) if kind_of(mix, config) == INPAINT]
    return sorted(candidates, key=lambda number: mixes[number].local, reverse=True)


def make_pairs(
    row: int, seed: int, sources: Sources, config: Synth, visible: Visible, outcomes: Counter[str]
) -> Iterator[Drawn]:
    """The pairs of an image, in order; what was drawn in vain is counted in `outcomes`."""
    image_id = int(sources.index.image_ids[row])
    keys = [[seed, image_id, number, FOR_MIX, 0] for number in range(config.pairs_per_image)]
    mixes = [draw_mix(np.random.default_rng(key)) for key in keys]
    turns = {number: turn for turn, number in enumerate(turns_at_removals(mixes, config))}
    removals: list[Made] | None = None
    for number, mix in enumerate(mixes):
        kind = kind_of(mix, config)
        if kind == INPAINT:
            removals = good_removals(row, sources, config, visible, outcomes) if removals is None else removals
            if turns[number] < len(removals):
                made = _varied(removals[turns[number]], number, mix, seed, sources, config, visible)
                yield Drawn(made, number, {})
                continue
        blank = draw_blank(row, number, mix, seed, sources, config)
        if kind == UNCHANGED:
            yield Drawn(make_pair(blank, sources, visible), number, {})
            continue
        in_vain = Counter({"inpaint given up for another kind: no other set of objects": 1} if kind == INPAINT else {})
        found = draw_good_pair(others(kind), blank, number, seed, sources, config, visible, in_vain)
        outcomes.update(in_vain)
        if found is not None:
            yield Drawn(found, number, in_vain)


def draw_blank(row: int, number: int, mix: Mix, seed: int, sources: Sources, config: Synth) -> PairRecord:
    """What pair `number` of an image shows, and how its prompt differs, before anything is changed."""
    image_id = int(sources.index.image_ids[row])
    ground = variation = None
    if mix.ground < config.ground_prob:
        rng = np.random.default_rng([seed, image_id, number, FOR_GROUND, 0])
        ground = draw_ground(rng, sources.original(row), config.ground)
    if mix.variation < config.variation_prob:
        rng = np.random.default_rng([seed, image_id, number, FOR_VARIATION, 0])
        variation = draw_variation(rng, config.variation, ground)
    return PairRecord(image_id, (), ground, Unchanged(), variation)


def good_removals(row: int, sources: Sources, config: Synth, visible: Visible, outcomes: Counter[str]) -> list[Made]:
    """Every removal of an image whose mask has an allowed area, no two that look the same."""
    image_id = int(sources.index.image_ids[row])
    found: dict[bytes, Made] = {}
    for variant in range(sources.variants(row)):
        made = make_pair(PairRecord(image_id, (), None, InpaintChange(variant), None), sources, visible)
        fault = area_fault(made, config)
        if fault is None and found.setdefault(made.changed.tobytes(), made) is not made:
            fault = "same as another"
        if fault is not None:
            outcomes[f"inpaint left out: {fault}"] += 1
    return list(found.values())


def _varied(removal: Made, number: int, mix: Mix, seed: int, sources: Sources, config: Synth, visible: Visible) -> Made:
    """A removal as the pair `number` has it: a filler knows the photograph alone, so that only a prompt is varied."""
    row = sources.row(removal.record.image_id)
    blank = draw_blank(row, number, replace(mix, ground=1.0), seed, sources, config)
    if blank.variation is None:
        return removal
    record = replace(removal.record, variation=replace(blank.variation, varied="prompt"))
    return make_pair(record, sources, visible)


def draw_good_pair(
    kinds: Sequence[str],
    blank: PairRecord,
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
    row = sources.row(blank.image_id)
    for kind in kinds:
        for attempt in range(config.tries):
            rng = np.random.default_rng([seed, blank.image_id, number, KINDS.index(kind), attempt])
            donor_ids, change = draw_change(kind, row, rng, sources, config)
            made = make_pair(replace(blank, donor_ids=donor_ids, change=change), sources, visible)
            fault = area_fault(made, config)
            if fault is None:
                return made
            outcomes[f"{kind} drawn again: {fault}"] += 1
        outcomes[f"{kind} given up for another kind"] += 1
    outcomes["pair given up"] += 1
    return None


def area_fault(made: Made, config: Synth) -> str | None:
    """What is wrong with the area of a pair's mask, if anything."""
    share = made.mask.mean()
    allowed = config.defect_area_share if made.record.change.kind in DEFECTS else config.area_share
    if share < allowed.low:
        return "nothing visible" if share == 0 else "mask too small"
    return "mask too large" if share > allowed.high else None


def as_new_pair(drawn: Drawn, group: str, sources: Sources) -> NewPair:
    """A finished pair of an image of `group`, as the shard takes it."""
    made, record = drawn.made, drawn.made.record
    return NewPair(
        made.original,
        made.changed,
        made.mask,
        kind=record.change.kind,
        group=group,
        image_id=record.image_id,
        donor_id=record.donor_ids[0] if record.donor_ids else NO_DONOR,
        prompt_is=prompt_is(record),
        record={**to_record(record), FACTS: facts_about(drawn, group, sources)},
        more={} if made.prompt is None else {PROMPT: made.prompt},
    )


@lru_cache(maxsize=1)
def _sources(index: Path, inpainted: Path, textures: Path | None, digests: tuple[tuple[str, str], ...]) -> Sources:
    """Opened once per process: a shard's donors lie in as many other shards, and opening each takes milliseconds."""
    sources = Sources(index, inpainted, textures)
    for name, digest in digests:
        if sources.digests.get(name) != digest:
            where = {"inpainted": inpainted, "textures": textures}.get(name, index)
            raise Failure(f"{where}: changed since the run began; run `dvc repro` again")
    return sources
