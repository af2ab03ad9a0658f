"""Building the index: choose images, draw their split, read each once, refuse what cannot be used and say why."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather

from configs.errors import BadRequest, Failure
from pipeline.progress import track
from pipeline.source.coco import Annotations, UnusableInstanceError, mask_area, run_lengths
from pipeline.source.images import UnreadableImageError, content_hash, read_bytes, size_of
from pipeline.source.index import IMAGES, INSTANCES, SPLITS, SUMMARY, ImageRow, InstanceRow

SPLIT_STREAM = 0x5EED  # keeps the split's draws apart from those of images, which start with the image id
IMAGE_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("sha256", pa.string()),
        ("split", pa.string()),
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


@dataclass(frozen=True)
class Skipped:
    """An image that was chosen but cannot be used."""

    image_id: int
    file: str
    reason: str


def choose_images(image_ids: Sequence[int], count: int, val_share: float, seed: int) -> dict[int, str]:
    """Draw at most `count` images and their split: image id -> "train" or "val", in order of split, then id.

    Raises:
        BadRequest: a split would be empty.
    """
    rng = np.random.default_rng([seed, SPLIT_STREAM])
    drawn = [int(image_id) for image_id in rng.permutation(sorted(image_ids))[:count]]
    val_count = round(len(drawn) * val_share)
    if not 0 < val_count < len(drawn):
        raise BadRequest(
            f"index.val_share = {val_share} of {len(drawn)} images leaves {val_count} for val; "
            "both splits need at least one image"
        )
    split = dict.fromkeys(sorted(drawn[val_count:]), "train")
    return split | dict.fromkeys(sorted(drawn[:val_count]), "val")


def build_index(
    annotations: Annotations, folder: Path, split: dict[int, str], max_unreadable_share: float
) -> tuple[list[ImageRow], list[InstanceRow], list[Skipped], Counter[str]]:
    """Read every chosen image once and gather the rows of both tables, the images skipped and instances refused.

    Raises:
        Failure: more than `max_unreadable_share` of the images cannot be used.
    """
    rows: list[ImageRow] = []
    instances: list[InstanceRow] = []
    skipped: list[Skipped] = []
    refused = annotations.refused.copy()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = pool.map(lambda image_id: _check_image(annotations.images[image_id], folder), split)
        for image_id, found in zip(split, track(checks, "index", len(split)), strict=True):
            entry = annotations.images[image_id]
            if isinstance(found, Skipped):
                skipped.append(found)
                continue
            usable = list(_usable_instances(annotations.instances[image_id], entry, refused))
            rows.append(
                ImageRow(
                    image_id=image_id,
                    file=entry["file_name"],
                    height=entry["height"],
                    width=entry["width"],
                    sha256=found,
                    split=split[image_id],
                    instances=len(usable),
                    first_instance=len(instances),
                )
            )
            instances += usable
    if len(skipped) > max_unreadable_share * len(split):
        first = skipped[0]
        raise Failure(
            f"{folder}: {len(skipped)} of {len(split)} images cannot be used, more than index.max_unreadable_share = "
            f"{max_unreadable_share} (first: {first.file}: {first.reason}); check data.images"
        )
    return rows, instances, skipped, refused


def write_index(
    root: Path, rows: list[ImageRow], instances: list[InstanceRow], skipped: list[Skipped], refused: Counter[str]
) -> dict[str, Any]:
    """Write both tables and the summary; returns the summary."""
    root.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    for name, content, schema in ((IMAGES, rows, IMAGE_SCHEMA), (INSTANCES, instances, INSTANCE_SCHEMA)):
        columns = {name: [getattr(row, name) for row in content] for name in schema.names}
        table = pa.table(columns, schema=schema)
        feather.write_feather(table, root / name, compression="uncompressed")
        digest.update((root / name).read_bytes())
    splits = Counter(row.split for row in rows)
    summary = {
        "digest": digest.hexdigest(),
        "images": {split: splits[split] for split in SPLITS},
        "images_without_instances": sum(row.instances == 0 for row in rows),
        "instances": len(instances),
        "skipped_images": [asdict(image) for image in skipped],
        "refused_instances": dict(sorted(refused.items())),
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


def _check_image(entry: dict[str, Any], folder: Path) -> str | Skipped:
    """The content hash of an image, or why it cannot be used."""
    file = entry["file_name"]
    try:
        data = read_bytes(image_path(folder, file))
        found, wanted = size_of(data), (entry["height"], entry["width"])
        if found != wanted:
            raise UnreadableImageError(f"is {found[0]}x{found[1]}, its annotation says {wanted[0]}x{wanted[1]}")
    except UnreadableImageError as error:
        return Skipped(entry["id"], file, str(error))
    return content_hash(data)


def _usable_instances(
    annotations: list[dict[str, Any]], image: dict[str, Any], refused: Counter[str]
) -> Iterator[InstanceRow]:
    """The instances of one image that have a mask; the others are counted in `refused` by reason."""
    height, width = image["height"], image["width"]
    for annotation in annotations:
        try:
            counts = run_lengths(annotation.get("segmentation"), height, width)
        except UnusableInstanceError as reason:
            refused[str(reason)] += 1
            continue
        yield InstanceRow(
            instance_id=annotation["id"],
            image_id=image["id"],
            is_crowd=bool(annotation.get("iscrowd", 0)),
            area_px=mask_area(counts, height, width),
            counts=counts,
        )
