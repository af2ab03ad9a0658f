"""One change of one image: drawn as a small record, made from the record. A pair is only ever made from its record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from configs.synth import Synth
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.local import LocalDraw, apply_local, draw_local
from pipeline.paste import Placement, apply_paste, draw_placements
from pipeline.shards import INPAINT, LOCAL, PASTE
from pipeline.sources import Sources
from pipeline.visible import keep_visible


@dataclass(frozen=True)
class Unchanged:
    """Both images are the original."""

    image_id: int
    kind: Literal["unchanged"] = "unchanged"


@dataclass(frozen=True)
class InpaintChange:
    """Objects removed: a variant of data/inpainted."""

    image_id: int
    variant: int
    kind: Literal["inpaint"] = "inpaint"


@dataclass(frozen=True)
class PasteChange:
    """Objects of a donor image pasted in."""

    image_id: int
    donor_id: int
    placements: tuple[Placement, ...]
    kind: Literal["paste"] = "paste"


@dataclass(frozen=True)
class LocalChange:
    """A texture made of a donor image, blended in under a Perlin mask."""

    image_id: int
    donor_id: int
    draw: LocalDraw
    kind: Literal["local"] = "local"


Change = Unchanged | InpaintChange | PasteChange | LocalChange
_CHANGE: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="kind")])


def to_record(change: Change) -> dict[str, Any]:
    """A change as the JSON object that a shard keeps of it."""
    record: dict[str, Any] = _CHANGE.dump_python(change, mode="json")
    return record


def from_record(record: Mapping[str, Any]) -> Change:
    """The change that `to_record` wrote down. Raises pydantic's ValidationError when it is none."""
    return _CHANGE.validate_python(record)


def draw_change(kind: int, row: int, number: int, rng: np.random.Generator, sources: Sources, config: Synth) -> Change:
    """Draw a change of one kind.

    Args:
        kind: INPAINT, PASTE or LOCAL.
        row: of the image to be changed.
        number: which try of which pair of the image this is; successive numbers take successive inpainted variants.
        rng: draws everything else.
        sources: the images.
        config: strengths and areas.
    """
    image_id = int(sources.index.image_ids[row])
    if kind == INPAINT:
        return InpaintChange(image_id, number % sources.variants)
    donor = _draw_donor(rng, row, sources)
    donor_id = int(sources.index.image_ids[donor])
    if kind == PASTE:
        return PasteChange(image_id, donor_id, _draw_paste(rng, donor, sources, config))
    assert kind == LOCAL
    local = config.local
    return LocalChange(image_id, donor_id, draw_local(rng, local.max_scale_log2, local.threshold, local.texture_weight))


def make_pair(change: Change, sources: Sources, visible: Visible) -> tuple[Image, Image, Mask]:
    """Original, changed image and mask of a change. They differ inside the mask alone; the mask may be empty."""
    row = sources.row(change.image_id)
    original = sources.original(row)
    if isinstance(change, Unchanged):
        return original, original, np.zeros(original.shape[:2], np.bool_)
    if isinstance(change, InpaintChange):
        return original, *sources.inpainted(row, change.variant)
    donor = sources.row(change.donor_id)
    if isinstance(change, PasteChange):
        instances = {instance.instance_id: instance for instance in sources.index.instances(donor)}
        masks = [sources.instance_mask(donor, instances[place.instance_id]) for place in change.placements]
        placed = [(mask, place) for mask, place in zip(masks, change.placements, strict=True) if mask.any()]
        changed, mask = apply_paste(original, sources.original(donor), placed)
    else:
        changed, mask = apply_local(original, sources.original(donor), change.draw)
    return original, *keep_visible(original, changed, mask, visible.min_contrast, visible.min_share)


def _draw_donor(rng: np.random.Generator, row: int, sources: Sources) -> int:
    """The row of another image of the same split."""
    rows = sources.split_rows(row)
    other = rows.start + int(rng.integers(len(rows) - 1))
    return other if other < row else other + 1


def _draw_paste(rng: np.random.Generator, donor: int, sources: Sources, config: Synth) -> tuple[Placement, ...]:
    """Placements of instances of the donor that are neither too small nor too large; none if it has none."""
    image, share = sources.index.image(donor), config.paste.area_share
    usable = [
        instance.instance_id
        for instance in sources.index.instances(donor)
        if share.low <= instance.area_px / (image.height * image.width) <= share.high
        and (config.paste.crowds or not instance.is_crowd)
    ]
    return draw_placements(rng, usable, config.paste) if usable else ()
