"""Pictures of training: what the augmentation makes of pairs, and what the network says of validation pairs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from model.pairs import Prepared
from model.pictures import Strip, tint, write_sheet
from model.training.feed import Batch
from pipeline.arrays import Image
from pipeline.spread import spread

SHEET_PAIRS = 8
GAP_PX, HEADING_PX = 4, 16
COLUMNS = ("normal", "changed", "prompt", "query", "mask")
IGNORED_TINT = np.array([40, 90, 200])  # RGB


def write_augmented(path: Path, batch: Batch, views: Prepared) -> None:
    """Draw pairs as they are stored and as the network sees them, a row each, into a PNG.

    The mask lies over the query in red, what loss and scores ignore in blue.
    """
    prompts, queries = _images(views.prompt), _images(views.query)
    rows = []
    for number, stored in enumerate(batch["pair"].cpu().numpy()):
        mask, valid = (values[number, 0].cpu().numpy() for values in (views.mask, views.valid))
        label = tint(queries[number], mask)
        label = np.where(valid[..., None], label, (label * 0.5 + IGNORED_TINT * 0.5).astype(np.uint8))
        rows.append(_beside([stored[0], stored[1], prompts[number], queries[number], label]))
    gap = np.full((GAP_PX, *rows[0].shape[1:]), 255, np.uint8)
    sheet = np.concatenate([_headings(rows[0].shape[1]), *(part for row in rows for part in (row, gap))][:-1])
    path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def write_predictions(path: Path, title: str, views: Prepared, maps: Tensor, names: Sequence[str]) -> None:
    """Draw pairs as the network sees them, with their truth and its maps (B, H, W), a row each, into a PNG."""
    truths = (views.mask & views.valid).squeeze(1).cpu().numpy()
    rows = zip(names, _images(views.prompt), _images(views.query), truths, maps.cpu().numpy(), strict=True)
    write_sheet(path, title, [Strip(*row) for row in rows])


def spread_over(kinds: npt.NDArray[np.uint8], most: int) -> list[int]:
    """At most `most` places in `kinds`, of each kind as many, evenly spread over those of the kind."""
    present = np.unique(kinds)
    return [
        int(places[number])
        for places in (np.flatnonzero(kinds == kind) for kind in present)
        for number in spread(len(places), max(1, most // len(present)))
    ]


def _headings(width: int) -> Image:
    """The names of the columns of a sheet that is `width` pixels wide, on white."""
    row = np.full((HEADING_PX, width, 3), 255, np.uint8)
    for number, name in enumerate(COLUMNS):
        place = (number * (width + GAP_PX) // len(COLUMNS), HEADING_PX - 5)
        cv2.putText(row, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return row


def _images(batch: Tensor) -> list[Image]:
    """Float32 (B, 3, H, W) in [0, 1] as RGB uint8 (H, W, 3) images."""
    return list((batch.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy().astype(np.uint8, copy=False))


def _beside(images: Sequence[Image]) -> Image:
    gap = np.full((images[0].shape[0], GAP_PX, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (image, gap)][:-1], axis=1)
