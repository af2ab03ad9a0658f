"""One change of one image: drawn as a small record, made from the record. A pair is only ever made from its record."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from configs.synth import Paste, Synth
from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.changes.local import LocalDraw, apply_local, draw_local
from pipeline.changes.paste import Cutout, Placement, apply_paste, draw_placements
from pipeline.changes.removal import remove
from pipeline.changes.sources import Sources
from pipeline.changes.visible import keep_visible
from pipeline.shards import LOCAL, NO_DONOR, PASTE
from pipeline.source import ImageRow, InstanceRow, bounding_box

FROM_EDGE_PX = 3  # annotators stop this short of the edge of the photograph


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
    feather_px: int
    kind: Literal["paste"] = "paste"


@dataclass(frozen=True)
class LocalChange:
    """Textures made of donor images, blended in under a Perlin mask."""

    image_id: int
    donor_ids: tuple[int, ...]  # one per texture
    draw: LocalDraw
    kind: Literal["local"] = "local"


Change = Unchanged | InpaintChange | PasteChange | LocalChange
_CHANGE: TypeAdapter[Change] = TypeAdapter(Annotated[Change, Field(discriminator="kind")])


def donor_of(change: Change) -> int:
    """The image that the pasted objects or the first texture came from, NO_DONOR if there is none."""
    if isinstance(change, PasteChange):
        return change.donor_id
    return change.donor_ids[0] if isinstance(change, LocalChange) else NO_DONOR


def to_record(change: Change) -> dict[str, Any]:
    """A change as the JSON object that a shard keeps of it."""
    record: dict[str, Any] = _CHANGE.dump_python(change, mode="json")
    return record


def from_record(record: Mapping[str, Any]) -> Change:
    """The change that `to_record` wrote down. Raises pydantic's ValidationError when it is none."""
    return _CHANGE.validate_python(record)


def draw_change(kind: int, row: int, rng: np.random.Generator, sources: Sources, config: Synth) -> Change:
    """Draw a change of one kind.

    Args:
        kind: PASTE or LOCAL; the variants of data/inpainted are not drawn here.
        row: of the image to be changed.
        rng: draws everything.
        sources: the images.
        config: strengths and areas.
    """
    image_id = int(sources.index.image_ids[row])
    if kind == PASTE:
        donor = _draw_donor(rng, row, sources)
        placements = _draw_paste(rng, donor, sources, config.paste)
        return PasteChange(image_id, int(sources.index.image_ids[donor]), placements, config.paste.feather_px)
    assert kind == LOCAL
    donors = [_draw_donor(rng, row, sources) for _ in range(config.local.textures)]
    donor_ids = tuple(int(sources.index.image_ids[donor]) for donor in donors)
    return LocalChange(image_id, donor_ids, draw_local(rng, config.local))


def make_pair(change: Change, sources: Sources, visible: Visible) -> tuple[Image, Image, Mask]:
    """Original, changed image and mask of a change. They differ inside the mask alone; the mask may be empty."""
    row = sources.row(change.image_id)
    original = sources.original(row)
    if isinstance(change, Unchanged):
        return original, original, np.zeros(original.shape[:2], np.bool_)
    if isinstance(change, InpaintChange):
        filled = sources.filled(row, change.variant)
        return original, *remove(original, filled.pixels, filled.objects, filled.hole, visible)
    if isinstance(change, PasteChange):
        donor = sources.row(change.donor_id)
        instances = {instance.instance_id: instance for instance in sources.index.instances(donor)}
        masks = [sources.instance_mask(donor, instances[place.instance_id]) for place in change.placements]
        placed = [(mask, place) for mask, place in zip(masks, change.placements, strict=True) if mask.any()]
        changed, mask = apply_paste(original, sources.original(donor), placed, change.feather_px)
    else:
        donors = [sources.original(sources.row(donor_id)) for donor_id in change.donor_ids]
        changed, mask = apply_local(original, donors, change.draw)
    return original, *keep_visible(original, changed, mask, visible.min_contrast, visible.min_share)


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
