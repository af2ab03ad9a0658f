"""The contact sheet of a shard: pairs as people look at them, original, changed, and the change outlined."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.arrays import Image, Mask

TILE_MIN_PX = 160  # smaller pairs are enlarged to this, so that the sheet can be read
GAP_PX, CAPTION_PX = 6, 18
PAPER, INK, OUTLINE = 255, (40, 40, 40), (255, 0, 200)
PAIRS_PER_ROW = 3


@dataclass(frozen=True)
class SheetEntry:
    """One pair on a sheet."""

    original: Image
    changed: Image
    mask: Mask
    caption: str
    prompt: Image | None = None  # where it is not the original


def contact_sheet(entries: Sequence[SheetEntry], per_row: int = PAIRS_PER_ROW) -> Image:
    """All entries on one picture, `per_row` to a row; uint8 (H, W, 3) RGB.

    Where any has a prompt of its own, each has a place for one before its original.
    """
    with_prompts = any(entry.prompt is not None for entry in entries)
    cells = [_cell(entry, with_prompts=with_prompts) for entry in entries]
    cells += [np.full_like(cells[0], PAPER)] * (-len(cells) % per_row)
    rows = [np.hstack(cells[first : first + per_row]) for first in range(0, len(cells), per_row)]
    return np.vstack(rows)


def outlined(image: Image, mask: Mask) -> Image:
    """The image with the outline of the mask drawn into it, one pixel wide."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(image.copy(), contours, -1, OUTLINE, 1), np.uint8)


def _cell(entry: SheetEntry, *, with_prompts: bool) -> Image:
    """Original, changed and outlined side by side, under a caption, with white around them; or the prompt before."""
    zoom = max(1, -(-TILE_MIN_PX // min(entry.mask.shape)))
    prompt = np.full_like(entry.original, PAPER) if entry.prompt is None else entry.prompt
    tiles = [_enlarge(image, zoom) for image in (entry.original, entry.changed)]
    tiles.append(outlined(tiles[1], _enlarge(entry.mask.astype(np.uint8), zoom) > 0))
    if with_prompts:
        tiles.insert(0, _enlarge(prompt, zoom))
    strip = np.hstack([cv2.copyMakeBorder(tile, 0, 0, 0, 2, cv2.BORDER_CONSTANT, value=(PAPER,) * 3) for tile in tiles])
    cell = cv2.copyMakeBorder(
        strip, CAPTION_PX, GAP_PX, GAP_PX, GAP_PX, cv2.BORDER_CONSTANT, value=(PAPER, PAPER, PAPER)
    )
    cv2.putText(cell, entry.caption, (GAP_PX, CAPTION_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)
    return np.asarray(cell, np.uint8)


def _enlarge(image: Image, zoom: int) -> Image:
    return np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST), np.uint8)
