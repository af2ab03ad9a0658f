"""One pair: drawn as a small record, made from the record. A pair is only ever made from its record."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from configs.synth import Paste, Synth
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.changes.defects import DEFECTS, Defect
from pipeline.changes.ground import HERE, Ground, show_ground
from pipeline.changes.local import LocalDraw, apply_local, draw_local
from pipeline.changes.paste import Cutout, Placement, apply_paste, draw_placements
from pipeline.changes.removal import INPAINT, UNCHANGED, remove
from pipeline.changes.sources import Sources
from pipeline.changes.variation import Variation, vary
from pipeline.changes.visible import keep_visible
from pipeline.shards import ALIGNED, ELSEWHERE, THE_ORIGINAL
from pipeline.source import ImageRow, InstanceRow, bounding_box

PASTE, LOCAL = "paste", "local"
KINDS = (UNCHANGED, INPAINT, PASTE, LOCAL, *DEFECTS)
FROM_EDGE_PX = 3  # annotators stop this short of the edge of the photograph


@dataclass(frozen=True)
class Unchanged:
    """Nothing."""

    kind: Literal["unchanged"] = "unchanged"


@dataclass(frozen=True)
class InpaintChange:
    """Objects removed: a variant of data/inpainted."""

    variant: int
    kind: Literal["inpaint"] = "inpaint"


@dataclass(frozen=True)
class PasteChange:
    """Objects of the donor pasted in."""

    placements: tuple[Placement, ...]
    feather_px: int
    kind: Literal["paste"] = "paste"


@dataclass(frozen=True)
class LocalChange:
    """Textures made of the donors, one of each, blended in under a Perlin mask."""

    draw: LocalDraw
    kind: Literal["local"] = "local"


Change = Unchanged | InpaintChange | PasteChange | LocalChange | Defect


@dataclass(frozen=True)
class PairRecord:
    """Everything that a pair is made from, but the images."""

    image_id: int
    donor_ids: tuple[int, ...]  # other images of the split that the change is made with
    ground: Ground | None  # what is shown instead of the photograph
    change: Annotated[Change, Field(discriminator="kind")]
    variation: Variation | None  # how the prompt differs from the original; None: it is the original


@dataclass(frozen=True)
class Made:
    """One finished pair, uint8 (H, W, 3) and bool (H, W)."""

    record: PairRecord
    original: Image
    changed: Image
    mask: Mask  # the two differ inside it alone; it may be empty
    prompt: Image | None  # the normal picture to compare with; None: the original


_RECORD: TypeAdapter[PairRecord] = TypeAdapter(PairRecord)


def to_record(record: PairRecord) -> dict[str, Any]:
    """A record as the JSON object that a shard keeps of it."""
    kept: dict[str, Any] = _RECORD.dump_python(record, mode="json")
    return kept


def from_record(kept: Mapping[str, Any]) -> PairRecord:
    """The record that `to_record` wrote down. Raises pydantic's ValidationError when it is none."""
    return _RECORD.validate_python(kept)


def draw_change(
    kind: str, row: int, rng: np.random.Generator, sources: Sources, config: Synth
) -> tuple[tuple[int, ...], Change]:
    """Draw the donors and the change of one kind.

    Args:
        kind: of KINDS, but for the variants of data/inpainted, which are not drawn here.
        row: of the image to be changed.
        rng: draws everything.
        sources: the images.
        config: strengths and areas.
    """
    if kind == LOCAL and sources.textures is not None:
        change = draw_local(rng, config.local)
        return (), LocalChange(replace(change, files=sources.textures.draw(rng, config.local.textures)))
    count = config.local.textures if kind == LOCAL else 1 if kind == PASTE else DEFECTS[kind].donors
    donors = [_draw_donor(rng, row, sources) for _ in range(count)]
    donor_ids = tuple(int(sources.index.image_ids[donor]) for donor in donors)
    if kind == PASTE:
        return donor_ids, PasteChange(_draw_paste(rng, donors[0], sources, config.paste), config.paste.feather_px)
    if kind == LOCAL:
        return donor_ids, LocalChange(draw_local(rng, config.local))
    return donor_ids, DEFECTS[kind].draw(rng)


def prompt_is(record: PairRecord) -> int:
    """THE_ORIGINAL; ALIGNED: another picture in which everything is where it was; ELSEWHERE: one in which it is not."""
    variation = record.variation
    if variation is None:
        return THE_ORIGINAL
    return ALIGNED if variation.place is None and variation.pose == HERE else ELSEWHERE


def make_pair(record: PairRecord, sources: Sources, visible: Visible) -> Made:
    """The pair of a record."""
    original, prompt = _pictures(record, sources)
    changed, mask = _change(record, original, sources, visible)
    return Made(record, original, changed, mask, prompt)


def _pictures(record: PairRecord, sources: Sources) -> tuple[Image, Image | None]:
    """The original, and the prompt where it is another picture."""
    photograph = sources.original(sources.row(record.image_id))
    size = photograph.shape[0], photograph.shape[1]
    ground, variation = record.ground, record.variation
    original = photograph if ground is None else show_ground(ground, photograph, size, ground.place)
    if variation is None:
        return original, None
    prompt = original
    if ground is not None and (variation.place is not None or variation.pose != HERE):
        place = ground.place if variation.place is None else variation.place
        prompt = show_ground(ground, photograph, size, place, variation.pose)
    if variation.varied == "prompt":
        return original, vary(prompt, variation)
    return vary(original, variation), prompt


def _change(record: PairRecord, original: Image, sources: Sources, visible: Visible) -> tuple[Image, Mask]:
    """The changed image and the mask of what can be seen of the change."""
    change = record.change
    if isinstance(change, Unchanged):
        return original, np.zeros(original.shape[:2], np.bool_)
    if isinstance(change, InpaintChange):
        filled = sources.filled(sources.row(record.image_id), change.variant)
        return remove(original, filled.pixels, filled.objects, filled.hole, visible)
    rows = [sources.row(donor_id) for donor_id in record.donor_ids]
    others = [sources.original(row) for row in rows]
    if isinstance(change, LocalChange) and change.draw.files:
        others = [sources.texture(name) for name in change.draw.files]
    donors = [_as_query(other, record.variation) for other in others]
    if isinstance(change, PasteChange):
        instances = {instance.instance_id: instance for instance in sources.index.instances(rows[0])}
        masks = [sources.instance_mask(rows[0], instances[place.instance_id]) for place in change.placements]
        placed = [(mask, place) for mask, place in zip(masks, change.placements, strict=True) if mask.any()]
        changed, mask = apply_paste(original, donors[0], placed, change.feather_px)
    elif isinstance(change, LocalChange):
        changed, mask = apply_local(original, donors, change.draw)
    else:
        changed, mask = DEFECTS[change.kind].apply(original, donors, change)
    return keep_visible(original, changed, mask, visible.min_contrast, visible.min_share)


def _as_query(donor: Image, variation: Variation | None) -> Image:
    """Another image in the light and with the noise of the query: else what is taken of it would tell itself."""
    if variation is None or variation.varied == "prompt":
        return donor
    return vary(donor, replace(variation, elastic=None))


def _draw_donor(rng: np.random.Generator, row: int, sources: Sources) -> int:
    """The row of another image of the same split."""
    rows = sources.split_rows(row)
    other = rows.start + int(rng.integers(len(rows) - 1))
    return other if other < row else other + 1


def _draw_paste(rng: np.random.Generator, donor: int, sources: Sources, config: Paste) -> tuple[Placement, ...]:
    """Placements of instances of the donor that may be pasted; none if it has none."""
    image = sources.index.image(donor)
    cutouts = [
        cutout
        for instance in sources.index.instances(donor)
        if config.area_share.low <= instance.area_px / (image.height * image.width) <= config.area_share.high
        and (config.crowds or not instance.is_crowd)
        and (cutout := _cut_out(instance, image)) is not None
    ]
    return draw_placements(rng, cutouts, sources.size, config) if cutouts else ()


def _cut_out(instance: InstanceRow, image: ImageRow) -> Cutout | None:
    """An instance as it may be pasted; None if opposite edges of its image cut it."""
    top, left, bottom, right = bounding_box(instance.counts, image.height, image.width)
    cut_by = [
        (top < FROM_EDGE_PX, image.height - bottom < FROM_EDGE_PX),
        (left < FROM_EDGE_PX, image.width - right < FROM_EDGE_PX),
    ]
    if (True, True) in cut_by:
        return None
    down, across = (far - near for near, far in cut_by)
    size = (bottom - top) / image.height, (right - left) / image.width
    return Cutout(instance.instance_id, *size, (down, across))
