"""What a pair's record says beside what the pair is made from: for people, and for what they ask of a data set.

id           "391895-3": image id of the original, number of the pair among the image's; the same in every version
sha256       of the pixels of all its pictures: pairs of two versions are alike exactly where these are
group        category of the original; "" where the source has none
prompt_is    what to compare with: the original, or another picture, aligned with it or of elsewhere (PROMPTS)
area_share   of the image that is masked, 0 to 1
categories   ids of the categories of the objects that were removed or pasted, sorted
in_vain      what was drawn before it and given up, and why -> how often
rights       whose the photograph and those of the donors are: file, licence and url of each, the photograph's first
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.changes.change import InpaintChange, Made, PairRecord, PasteChange, prompt_is
from pipeline.changes.sources import Sources
from pipeline.shards import PROMPTS


@dataclass(frozen=True)
class Drawn:
    """A finished pair and how it came about."""

    made: Made
    number: int  # among those of its image, from 0
    in_vain: Mapping[str, int]  # what was drawn before it and given up, and why -> how often


def facts_about(drawn: Drawn, group: str, sources: Sources) -> dict[str, Any]:
    """The facts of a pair of an image of `group`, as its record keeps them."""
    made, record = drawn.made, drawn.made.record
    return {
        "id": f"{record.image_id}-{drawn.number}",
        "sha256": digest_of(made),
        "group": group,
        "prompt_is": PROMPTS[prompt_is(record)],
        "area_share": round(float(made.mask.mean()), 6),
        "categories": sorted(changed_categories(record, sources)),
        "in_vain": dict(sorted(drawn.in_vain.items())),
        "rights": [_rights_of(image_id, sources) for image_id in (record.image_id, *record.donor_ids)],
    }


def digest_of(made: Made) -> str:
    """Hexadecimal sha256 of the pixels of a pair: original, changed image, mask, and prompt if there is one."""
    digest = hashlib.sha256()
    for picture in (made.original, made.changed, made.mask, *(() if made.prompt is None else (made.prompt,))):
        digest.update(np.ascontiguousarray(picture).view(np.uint8).data)
    return digest.hexdigest()


def changed_categories(record: PairRecord, sources: Sources) -> set[int]:
    """The categories of the objects that a pair's change removed or pasted; no other change is of objects."""
    row = sources.row(record.image_id)
    if isinstance(record.change, InpaintChange):
        return _categories(row, set(sources.removed(row, record.change.variant)), sources)
    if isinstance(record.change, PasteChange):
        pasted = {placement.instance_id for placement in record.change.placements}
        return _categories(sources.row(record.donor_ids[0]), pasted, sources)
    return set()


def _categories(row: int, instance_ids: set[int], sources: Sources) -> set[int]:
    of_instances = zip(sources.index.instances(row), sources.rights.of(row).categories, strict=True)
    return {
        category for instance, category in of_instances if instance.instance_id in instance_ids and category is not None
    }


def _rights_of(image_id: int, sources: Sources) -> dict[str, Any]:
    rights = sources.rights.of(sources.row(image_id))
    return {"image_id": image_id, "file": rights.file, "licence": rights.licence, "url": rights.url}
