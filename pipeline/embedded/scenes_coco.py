"""Visible masks to annotations of the COCO instances format, in plain JSON values.

As in COCO, a polygon is a filled outline: a hole (the bore of a ring, a smaller thing lying on the object) belongs
to the polygon. A crowd is a run-length code in column order, holes and all.
"""

from typing import Any

import cv2
import numpy as np

from pipeline.arrays import Mask

_OVERSAMPLING = 4  # contours are traced on a finer lattice, where they run along pixel edges and not through centres
_TOLERANCE_PX = 0.45  # a polygon may cut corners by so much
_MIN_PART_PX = 12  # smaller visible scraps of an object are left out, as annotators do


def annotation(number: int, image_id: int, category_id: int, visible: Mask, *, is_crowd: bool) -> dict[str, Any] | None:
    """One entry of `annotations`, or None where no visible part is large enough."""
    if is_crowd:
        segmentation: Any = run_lengths(visible)
        rows, cols = np.nonzero(visible)
        corners = np.stack([np.r_[cols, cols.max() + 1], np.r_[rows, rows.max() + 1]], axis=1).astype(float)
        area = float(visible.sum())
    else:
        outlines = polygons(visible)
        if not outlines:
            return None
        segmentation = [outline.ravel().tolist() for outline in outlines]
        corners = np.concatenate(outlines)
        area = float(sum(cv2.contourArea(outline.astype(np.float32)) for outline in outlines))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": area,
        "iscrowd": int(is_crowd),
        "segmentation": segmentation,
    }


def polygons(mask: Mask) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Outer outlines of the parts of `mask`: float64 (N, 2), columns and rows in pixels, 0 at the image's edge."""
    fine = cv2.resize(mask.astype(np.uint8), None, fx=_OVERSAMPLING, fy=_OVERSAMPLING, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = []
    for contour in contours:
        if cv2.contourArea(contour) < _MIN_PART_PX * _OVERSAMPLING**2:
            continue
        corners = cv2.approxPolyDP(contour, _TOLERANCE_PX * _OVERSAMPLING, closed=True)[:, 0]
        # pycocotools takes four numbers for a box: a polygon needs three corners.
        if len(corners) >= 3:
            outlines.append(np.round((corners + 0.5) / _OVERSAMPLING, 2))
    return outlines


def run_lengths(mask: Mask) -> dict[str, list[int]]:
    """Uncompressed RLE: lengths of runs in column order, the first run is background."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    counts = np.diff(bounds).tolist()
    return {"counts": [0, *counts] if flat[0] else counts, "size": list(mask.shape)}
