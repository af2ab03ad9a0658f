"""COCO's instances format: the changed pictures, and each region of a change as an instance of its kind.

annotations/instances_train.json   images are `train/changed/<id>.png`, each with its `prompt`, its licence and url
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
from pycocotools import mask as mask_api

from pipeline.publish.given import GivenPair
from pipeline.publish.pictures import picture_path


def fragment(pair: GivenPair, number: int, kinds: Sequence[str]) -> dict[str, Any]:
    """What the instances file says of a pair: its image, and its annotations without their ids.

    Args:
        pair: with its mask.
        number: id of the image.
        kinds: by their numbers, which are the ids of the categories.
    """
    mask = pair.pictures["mask"]
    image = {
        "id": number,
        "file_name": picture_path(pair, "changed"),
        "prompt": picture_path(pair, "prompt" if "prompt" in pair.pictures else "original"),
        "height": mask.shape[0],
        "width": mask.shape[1],
        "license": pair.row["licence"],
        "flickr_url": pair.row["url"],
        "pair": pair.id,
        "source_image_id": pair.row["image_id"],
    }
    kind = kinds.index(pair.row["kind"])
    return {"image": image, "annotations": [_annotation(region, number, kind) for region in _regions(mask)]}


def write_instances(
    path: Path, parts: Sequence[Path], kinds: Sequence[str], licences: Mapping[str, Mapping[str, str]], about: str
) -> None:
    """Join the fragments of shards, a JSON object a line, to one file; memory holds a line."""
    head = {
        "info": {"description": about},
        "licenses": [{"id": int(number), **said} for number, said in licences.items()],
        "categories": [{"id": number, "name": kind, "supercategory": "change"} for number, kind in enumerate(kinds)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        file.write(json.dumps(head)[:-1] + ', "images": [\n')
        _write_list(file, (said["image"] for said in _read(parts)))
        file.write('\n], "annotations": [\n')
        every = (annotation for said in _read(parts) for annotation in said["annotations"])
        _write_list(file, ({"id": number, **annotation} for number, annotation in enumerate(every, start=1)))
        file.write("\n]}\n")


def _regions(mask: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """The connected regions of a mask, uint8 (H, W)."""
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    for number in range(1, count):
        yield np.asarray(labels == number, np.uint8)


def _annotation(region: np.ndarray[Any, Any], image_id: int, category_id: int) -> dict[str, Any]:
    encoded = mask_api.encode(np.asfortranarray(region))
    return {
        "image_id": image_id,
        "category_id": category_id,
        "iscrowd": 0,
        "area": int(mask_api.area(encoded)),
        "bbox": [float(number) for number in mask_api.toBbox(encoded)],
        "segmentation": {"size": list(region.shape), "counts": encoded["counts"].decode()},
    }


def _read(parts: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for part in parts:
        with part.open() as lines:
            yield from map(json.loads, lines)


def _write_list(file: TextIO, items: Iterable[Mapping[str, Any]]) -> None:
    for number, item in enumerate(items):
        file.write((",\n" if number else "") + json.dumps(item))
