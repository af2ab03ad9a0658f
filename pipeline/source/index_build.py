"""Building the index: choose images, draw their split, read each once, refuse what cannot be used and say why.

Everything drawn here belongs to an image by itself, so that an image more or less moves no other: each has a random
rank, the images of the lowest ranks are taken, and in a split they stand in the order of their ranks.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from configs.errors import BadRequest, Failure
from pipeline.progress import track
from pipeline.source.alike import groups_alike
from pipeline.source.coco import WHOLE, Annotations, Licence
from pipeline.source.images import UnreadableImageError, content_hash, examine, read_bytes
from pipeline.source.index import IMAGES, INSTANCES, SPLITS, SUMMARY, ImageRow, InstanceRow
from pipeline.source.rights import NONE_STATED, RIGHTS, Rights
from pipeline.source.run_lengths import UnusableInstanceError, mask_area, run_lengths

SPLIT_STREAM = 0x5EED  # keeps the split's draws apart from those of images, which start with the image id
IMAGE_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("sha256", pa.string()),
        ("split", pa.string()),
        ("rank", pa.int64()),
        ("group", pa.string()),
        ("instances", pa.int32()),
        ("first_instance", pa.int64()),
    ]
)
INSTANCE_SCHEMA = pa.schema(
    [
        ("instance_id", pa.int64()),
        ("image_id", pa.int64()),
        ("is_crowd", pa.bool_()),
        ("area_px", pa.int64()),
        ("counts", pa.binary()),
    ]
)
RIGHTS_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file", pa.string()),
        ("licence", pa.int64()),
        ("url", pa.string()),
        ("categories", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True)
class Skipped:
    """An image that was chosen but cannot be used."""

    image_id: int
    file: str
    reason: str


@dataclass(frozen=True)
class Found:
    """All that goes into the index, in the order of its tables, and what does not."""

    rows: list[ImageRow]
    instances: list[InstanceRow]
    skipped: list[Skipped]  # cannot be used
    repeated: list[Skipped]  # files of the same bytes as another's
    alike: list[list[int]]  # ids of photographs that look alike, kept in one split
    refused: Counter[str]  # why instances have no mask -> how many
    rights: list[Rights]  # of the images of `rows`
    licences: dict[int, Licence]
    categories: dict[int, str]


@dataclass(frozen=True)
class Place:
    """Where an image stands."""

    split: str
    rank: int  # 0 .. 2^63 - 1, random


def choose_images(groups: Mapping[int, str], count: int, val_share: float, seed: int) -> dict[int, Place]:
    """Draw at most `count` images and the split of each, in id order; of every group the same share is for val.

    Args:
        groups: of the images there are, by their ids.
        count: at most.
        val_share: of the images of a group.
        seed: of the draws.

    Raises:
        BadRequest: a split would be empty, or a group be missing in one.
    """
    draws = {image_id: _draw(image_id, seed) for image_id in groups}
    taken = sorted(draws, key=lambda image_id: draws[image_id])[:count]
    members: dict[str, list[int]] = {group: [] for group in groups.values()}
    for image_id in taken:
        members[groups[image_id]].append(image_id)
    for_val: set[int] = set()
    for group, own in members.items():
        val_count = round(len(own) * val_share)
        if not 0 < val_count < len(own):
            raise BadRequest(
                f"index.val_share = {val_share} of {len(own)} images{_of(group)}, of index.images = {count} in all,"
                f" leaves {val_count} for val; both splits need at least one image"
            )
        for_val |= set(sorted(own, key=lambda image_id: draws[image_id][1])[:val_count])
    return {
        image_id: Place("val" if image_id in for_val else "train", draws[image_id][0]) for image_id in sorted(taken)
    }


def build_index(annotations: Annotations, folder: Path, places: dict[int, Place], max_unreadable_share: float) -> Found:
    """Read every chosen image once and gather the rows of both tables.

    Of files with the same bytes the one of the lowest id is kept. Photographs that look alike go to the split of the
    lowest id among them: what is learned from must not be validated on. Normal images of a category all look alike, and
    stay where they were drawn.

    Raises:
        Failure: more than `max_unreadable_share` of the images cannot be used, a split comes out empty, or a group is
            missing in one.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = pool.map(lambda image_id: _check_image(annotations.images[image_id], folder), places)
        checked = dict(zip(places, track(checks, "index", len(places)), strict=True))
    skipped = [found for found in checked.values() if isinstance(found, Skipped)]
    if len(skipped) > max_unreadable_share * len(places):
        first = skipped[0]
        raise Failure(
            f"{folder}: {len(skipped)} of {len(places)} images cannot be used, more than index.max_unreadable_share = "
            f"{max_unreadable_share} (first: {first.file}: {first.reason}); check data.images"
        )
    usable = {image_id: found for image_id, found in checked.items() if isinstance(found, _Checked)}
    repeated = list(_repeated(usable, annotations))
    for again in repeated:
        del usable[again.image_id]
    ids, groups = list(usable), annotations.groups
    loose = [image_id for image_id in ids if groups[image_id] == WHOLE]
    alike = [[loose[place] for place in group] for group in groups_alike([usable[image_id].look for image_id in loose])]
    places = places | {
        image_id: replace(places[image_id], split=places[group[0]].split) for group in alike for image_id in group
    }
    order = sorted(ids, key=lambda image_id: (SPLITS.index(places[image_id].split), places[image_id].rank))
    _check_splits(folder, ids, groups, places)
    refused = annotations.refused.copy()
    rows: list[ImageRow] = []
    instances: list[InstanceRow] = []
    rights: list[Rights] = []
    for image_id in order:
        entry, place, photograph = annotations.images[image_id], places[image_id], usable[image_id]
        own = list(_usable_instances(annotations.instances[image_id], photograph, refused))
        rights.append(_rights_of(image_id, annotations, own))
        rows.append(
            ImageRow(
                image_id=image_id,
                file=entry["file_name"],
                height=photograph.height,
                width=photograph.width,
                sha256=photograph.sha256,
                split=place.split,
                rank=place.rank,
                group=groups[image_id],
                instances=len(own),
                first_instance=len(instances),
            )
        )
        instances += own
    return Found(
        rows, instances, skipped, repeated, alike, refused, rights, annotations.licences, annotations.categories
    )


def write_index(root: Path, found: Found) -> dict[str, Any]:
    """Write the tables and the summary; returns the summary."""
    root.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    digest.update(_write_table(root / IMAGES, found.rows, IMAGE_SCHEMA))
    digest.update(_write_table(root / INSTANCES, found.instances, INSTANCE_SCHEMA))
    of_rights = _write_table(root / RIGHTS, found.rights, RIGHTS_SCHEMA)
    splits = Counter(row.split for row in found.rows)
    groups = {group: Counter[str]() for group in sorted({row.group for row in found.rows})}
    for row in found.rows:
        groups[row.group][row.split] += 1
    summary = {
        "digest": digest.hexdigest(),
        "images": {split: splits[split] for split in SPLITS},
        "groups": {group: {split: counts[split] for split in SPLITS} for group, counts in groups.items()},
        "images_without_instances": sum(row.instances == 0 for row in found.rows),
        "instances": len(found.instances),
        "skipped_images": [asdict(image) for image in found.skipped],
        "repeated_images": [asdict(image) for image in found.repeated],
        "images_alike": found.alike,
        "refused_instances": dict(sorted(found.refused.items())),
        "rights": _summary_of_rights(found, of_rights),
    }
    (root / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def image_path(folder: Path, file: str) -> Path:
    """The path of an image by its name in the annotations, which may come from anyone.

    A name cannot lead out of the folder. Links that lie in the folder are followed: the folder is its owner's, and DVC
    itself may have made them.

    Raises:
        UnreadableImageError: the name leads out of the folder, or is no name of a file.
    """
    name = PurePosixPath(file)
    if name.is_absolute() or ".." in name.parts:
        raise UnreadableImageError("its name leads out of the image folder")
    if "\0" in file or not file.isprintable():  # lone surrogates, which stand for bytes that are not UTF-8, are not
        raise UnreadableImageError("its name is not printable UTF-8")
    return folder / name


def _write_table(path: Path, rows: Sequence[Any], schema: pa.Schema) -> bytes:
    """Write rows as an uncompressed Arrow file; the bytes of it."""
    table = pa.table({name: [getattr(row, name) for row in rows] for name in schema.names}, schema=schema)
    feather.write_feather(table, path, compression="uncompressed")
    return path.read_bytes()


def _rights_of(image_id: int, annotations: Annotations, usable: Sequence[InstanceRow]) -> Rights:
    of = {annotation["id"]: annotation.get("category_id") for annotation in annotations.instances[image_id]}
    categories = (of[instance.instance_id] for instance in usable)
    return Rights(
        image_id=image_id,
        file=annotations.images[image_id]["file_name"],
        licence=annotations.licence(image_id),
        url=annotations.url(image_id),
        categories=tuple(
            category if type(category) is int and 0 <= category < 2**63 else None for category in categories
        ),
    )


def _summary_of_rights(found: Found, table: bytes) -> dict[str, Any]:
    """Names, how many images bear which licence, and a digest that changes with any of what a record takes of it."""
    names = {
        "licences": {str(number): asdict(licence) for number, licence in sorted(found.licences.items())},
        "categories": {str(number): name for number, name in sorted(found.categories.items())},
    }
    counts = Counter(NONE_STATED if rights.licence is None else str(rights.licence) for rights in found.rights)
    digest = hashlib.sha256(table + json.dumps(names, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, **names, "images": dict(sorted(counts.items()))}


@dataclass(frozen=True)
class _Checked:
    """An image that can be used."""

    sha256: str
    look: int
    height: int
    width: int


def _draw(image_id: int, seed: int) -> tuple[int, int]:
    """The rank of an image, and the number by which its split is drawn."""
    rank, side = np.random.default_rng([seed, SPLIT_STREAM, image_id]).integers(2**63, size=2)
    return int(rank), int(side)


def _check_image(entry: dict[str, Any], folder: Path) -> _Checked | Skipped:
    """The content hash and the look of an image, or why it cannot be used."""
    file = entry["file_name"]
    try:
        data = read_bytes(image_path(folder, file))
        found = examine(data)
        wanted = entry.get("height", found.height), entry.get("width", found.width)
        if (found.height, found.width) != wanted:
            raise UnreadableImageError(f"is {found.height}x{found.width}, its annotation says {wanted[0]}x{wanted[1]}")
    except UnreadableImageError as error:
        return Skipped(entry["id"], file, str(error))
    return _Checked(content_hash(data), found.look, found.height, found.width)


def _check_splits(folder: Path, ids: Sequence[int], groups: Mapping[int, str], places: Mapping[int, Place]) -> None:
    """Raises Failure where a group has no image that can be used in a split."""
    for group in sorted({groups[image_id] for image_id in places}):
        own = [image_id for image_id in ids if groups[image_id] == group]
        if {places[image_id].split for image_id in own} != set(SPLITS):
            raise Failure(f"{folder}: {len(own)} images{_of(group)} that can be used leave a split empty; add images")


def _of(group: str) -> str:
    return "" if group == WHOLE else f" of category {group}"


def _repeated(usable: dict[int, _Checked], annotations: Annotations) -> Iterator[Skipped]:
    """Images, in id order, whose file an earlier one has to the byte."""
    first: dict[str, int] = {}
    for image_id, found in usable.items():
        kept = first.setdefault(found.sha256, image_id)
        if kept != image_id:
            yield Skipped(image_id, annotations.images[image_id]["file_name"], f"same file as image {kept}")


def _usable_instances(
    annotations: list[dict[str, Any]], image: _Checked, refused: Counter[str]
) -> Iterator[InstanceRow]:
    """The instances of one image that have a mask; the others are counted in `refused` by reason."""
    for annotation in annotations:
        try:
            counts = run_lengths(annotation.get("segmentation"), image.height, image.width)
        except UnusableInstanceError as reason:
            refused[str(reason)] += 1
            continue
        yield InstanceRow(
            instance_id=annotation["id"],
            image_id=annotation["image_id"],
            is_crowd=bool(annotation.get("iscrowd", 0)),
            area_px=mask_area(counts, image.height, image.width),
            counts=counts,
        )
