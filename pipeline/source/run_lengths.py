"""The masks of COCO's instances: polygons or run lengths as annotations write them, to compressed run-length counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_api

from pipeline.arrays import Mask

MIN_POLYGON_NUMBERS = 6  # three corners
FARTHEST_SIDES = 10  # of the image, that a polygon may reach outside of it


class UnusableInstanceError(Exception):
    """An annotation that gives no mask; the message is the reason, short enough to be counted."""


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
