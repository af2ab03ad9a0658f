"""Reading a COCO instances file: checked structure, and every instance as one run-length mask or a reason why not."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pycocotools import mask as mask_api

from configs.errors import BadRequest
from pipeline.arrays import Mask

SECTIONS: Final[dict[str, dict[str, type]]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "annotations": {"id": int, "image_id": int},
}
MIN_POLYGON_NUMBERS = 6  # three corners
WHOLE = ""  # the one group of a source without categories; no folder has this name
FARTHEST_SIDES = 10  # of the image, that a polygon may reach outside of it


class UnusableInstanceError(Exception):
    """An annotation that gives no mask; the message is the reason, short enough to be counted."""


@dataclass(frozen=True)
class Annotations:
    """The parts of an instances file that the pipeline uses."""

    images: dict[int, dict[str, Any]]  # image id -> its entry
    instances: dict[int, list[dict[str, Any]]]  # image id -> its annotations, in id order
    refused: Counter[str]  # why annotations are not among them -> how many

    @property
    def groups(self) -> dict[int, str]:
        """The category of every image, by its id; WHOLE where there are none."""
        return {image_id: entry.get("group", WHOLE) for image_id, entry in self.images.items()}


def read_annotations(path: Path) -> Annotations:
    """Read a COCO instances JSON.

    Raises:
        BadRequest: the file is missing, empty, not JSON, or not of COCO's structure.
    """
    content = _read_json(path)
    for section, fields in SECTIONS.items():
        _check_section(path, content, section, fields)
    images = {image["id"]: image for image in content["images"]}
    if not images:
        raise BadRequest(f"{path}: `images` is empty; wanted a COCO instances file with at least one image")
    if len(images) < len(content["images"]):
        raise BadRequest(
            f"{path}: {len(content['images']) - len(images)} image ids stand more than once; make them unique"
        )
    instances: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in images}
    refused = Counter[str]()
    taken: set[int] = set()
    for annotation in sorted(content["annotations"], key=lambda annotation: annotation["id"]):
        if annotation["image_id"] not in instances:
            refused["of an image that is not listed"] += 1
        elif annotation["id"] in taken:  # the first in the file is kept: a record names instances by id
            refused["of an id that stands more than once"] += 1
        else:
            taken.add(annotation["id"])
            instances[annotation["image_id"]].append(annotation)
    return Annotations(images, instances, refused)


def run_lengths(segmentation: Any, height: int, width: int) -> bytes:
    """COCO's compressed run-length counts of one instance's mask at the image's own size.

    Args:
        segmentation: polygons, or a run-length dict with plain or compressed counts, as COCO writes them.
        height: of the image in pixels.
        width: of the image in pixels.

    Raises:
        UnusableInstanceError: there is no mask in it.
    """
    if isinstance(segmentation, Mapping):
        encoded = _encode_run_lengths(segmentation, height, width)
    elif isinstance(segmentation, Sequence) and not isinstance(segmentation, str):
        encoded = _encode_polygons(segmentation, height, width)
    else:
        raise UnusableInstanceError("no segmentation")
    if mask_api.area(encoded) == 0:
        raise UnusableInstanceError("empty mask")
    return bytes(encoded["counts"])


def decode_mask(counts: bytes, height: int, width: int) -> Mask:
    """The bool (height, width) mask of COCO's compressed run-length counts."""
    return np.asarray(mask_api.decode({"size": [height, width], "counts": counts}), np.bool_)


def mask_area(counts: bytes, height: int, width: int) -> int:
    """The number of pixels of the mask of COCO's compressed run-length counts."""
    return int(mask_api.area({"size": [height, width], "counts": counts}))


def union(counts: Sequence[bytes], height: int, width: int) -> bytes:
    """COCO's compressed run-length counts of the union of masks of one size, without decoding any."""
    if not counts:
        return bytes(mask_api.encode(np.zeros((height, width), np.uint8, order="F"))["counts"])
    return bytes(mask_api.merge([{"size": [height, width], "counts": one} for one in counts])["counts"])


def bounding_box(counts: bytes, height: int, width: int) -> tuple[int, int, int, int]:
    """First row, first column, last row + 1 and last column + 1 of a mask that is not empty."""
    left, top, across, down = (int(number) for number in mask_api.toBbox({"size": [height, width], "counts": counts}))
    return top, left, top + down, left + across


def _encode_polygons(polygons: Sequence[Any], height: int, width: int) -> Any:
    if not polygons:
        raise UnusableInstanceError("no segmentation")
    whole = [corners for polygon in polygons if len(corners := _corners(polygon)) >= MIN_POLYGON_NUMBERS]
    if not whole:
        raise UnusableInstanceError("degenerate polygon")
    # pycocotools walks along every edge, pixel by pixel, wherever it leads.
    if max(*map(max, whole), *(-min(corners) for corners in whole)) > FARTHEST_SIDES * max(height, width):
        raise UnusableInstanceError("polygon far outside the image")
    return mask_api.merge(mask_api.frPyObjects(whole, height, width))


def _corners(polygon: Any) -> list[float]:
    """The numbers of a polygon; none if they are odd in number."""
    try:
        numbers = np.asarray(polygon)
    except ValueError:  # lists of different lengths
        raise UnusableInstanceError("polygon of other things than numbers") from None
    if numbers.size == 0:
        return []
    if numbers.ndim != 1 or numbers.dtype.kind not in "iuf" or not np.isfinite(numbers).all():
        raise UnusableInstanceError("polygon of other things than numbers")
    return [] if len(numbers) % 2 else [float(number) for number in polygon]


def _encode_run_lengths(segmentation: Mapping[str, Any], height: int, width: int) -> Any:
    counts, size = segmentation.get("counts"), segmentation.get("size")
    if counts is None or size != [height, width]:
        raise UnusableInstanceError("run lengths of another size")
    compressed = isinstance(counts, str)
    numbers = _decompressed(counts) if compressed else counts
    if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
        raise UnusableInstanceError("run lengths of other things than counts")
    if sum(numbers) != height * width:  # pycocotools would leave the rest of the mask as its memory happens to be
        raise UnusableInstanceError("run lengths do not fill the image")
    if compressed:
        return {"size": size, "counts": counts.encode()}
    return mask_api.frPyObjects(dict(segmentation), height, width)


def _decompressed(counts: str) -> list[int]:
    """The run lengths behind COCO's compressed counts: 5 bits a character, each number less the one before the last."""
    numbers: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise UnusableInstanceError("run lengths of other things than counts")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:  # the last character of a number; its highest bit is the sign
            value -= (bits & 0x10) << (shift - 4)
            numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
            value, shift = 0, 0
    if shift:
        raise UnusableInstanceError("run lengths of other things than counts")
    return numbers


def _read_json(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}; data.annotations must name a COCO instances JSON") from None
    if not data.strip():
        raise BadRequest(f"{path}: the file is empty; wanted a COCO instances JSON")
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadRequest(f"{path}: not JSON ({error}); wanted a COCO instances JSON") from None


def _check_section(path: Path, content: Any, section: str, fields: Mapping[str, type]) -> None:
    entries = content.get(section) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        keys = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise BadRequest(f"{path}: no list `{section}` (found {keys}); wanted a COCO instances JSON")
    for number, entry in enumerate(entries):
        for field, wanted in fields.items():
            found = entry.get(field) if isinstance(entry, dict) else None
            if type(found) is not wanted:
                raise BadRequest(f"{path}: {section}[{number}].{field} = {found!r}; wanted {wanted.__name__}")
            if isinstance(found, int) and not 0 <= found < 2**63:
                raise BadRequest(f"{path}: {section}[{number}].{field} = {found}; wanted 0 to 2^63 - 1")
