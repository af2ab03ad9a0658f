"""Picture sheets: prompt, query, truth, map and overlay side by side, one row for each query."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pipeline.arrays import Image, Mask

HEADINGS = ("prompt", "query", "truth", "map", "overlay")
CELL_INCHES = 1.6
LABEL_INCHES = 1.15  # at the left, the rows' labels
TITLE_INCHES = 0.52  # at the top, the title and the headings
BAR_INCHES = 0.55  # at the right, the colour bar of the maps
DPI = 120
GAP = 0.04  # between pictures, of a picture
COLOURS = "inferno"
UNIT = Normalize(0, 1)  # one range for all sheets, so that colours compare between them
TRUTH_TINT = np.array([230, 60, 50])  # RGB
TRUTH_OPACITY = 0.6


@dataclass(frozen=True)
class Strip:
    """One row of a sheet; all pictures are (H, W) alike."""

    label: str
    prompt: Image  # RGB uint8 (H, W, 3)
    query: Image  # RGB uint8 (H, W, 3)
    truth: Mask  # bool (H, W)
    map: npt.NDArray[np.float32]  # (H, W), in [0, 1]


def write_sheet(path: Path, title: str, strips: Sequence[Strip]) -> None:
    """Draw `strips` (one at least) below each other into a PNG; the same strips give the same file."""
    write_picture(path, draw_sheet(title, strips))


def write_picture(path: Path, figure: Figure) -> None:
    """Write a figure as PNG; the same figure gives the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})  # no version of matplotlib in the file


def draw_sheet(title: str, strips: Sequence[Strip]) -> Figure:
    """Lay out a sheet, a row for each of `strips` (one at least)."""
    height_px, width_px = strips[0].truth.shape
    row_inches = CELL_INCHES * height_px / width_px
    width = LABEL_INCHES + len(HEADINGS) * CELL_INCHES + BAR_INCHES
    height = TITLE_INCHES + len(strips) * row_inches + 0.1
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    left, right = LABEL_INCHES / width, 1 - BAR_INCHES / width
    top, bottom = 1 - TITLE_INCHES / height, 0.1 / height
    cells = figure.subplots(
        len(strips),
        len(HEADINGS),
        squeeze=False,
        gridspec_kw={"left": left, "right": right, "top": top, "bottom": bottom, "wspace": GAP, "hspace": GAP},
    )
    for row, strip in zip(cells, strips, strict=True):
        _fill(row, strip)
    for cell, heading in zip(cells[0], HEADINGS, strict=True):
        cell.set_title(heading, fontsize=9, pad=4)
    # A title may hold the name of a category, a label that of a file: no formula, whatever dollars are in it.
    figure.text(0.02, 1 - 0.08 / height, title, fontsize=11, fontweight="bold", va="top", parse_math=False)
    bar = figure.add_axes((right + 0.12 / width, bottom, 0.1 / width, top - bottom))
    figure.colorbar(ScalarMappable(UNIT, COLOURS), cax=bar, ticks=[0, 0.5, 1]).ax.tick_params(labelsize=7, length=2)
    return figure


def to_image(picture: npt.NDArray[np.float32]) -> Image:
    """Float32 (H, W, 3) in [0, 1] as RGB uint8."""
    return (picture * 255).round().astype(np.uint8)


def tint(image: Image, mask: Mask) -> Image:
    """Return `image` darkened to grey, with `mask` in red."""
    grey = np.repeat(image.mean(axis=2, keepdims=True) * 0.6, 3, axis=2)
    red = (1 - TRUTH_OPACITY) * grey + TRUTH_OPACITY * TRUTH_TINT
    return np.where(mask[..., None], red, grey).astype(np.uint8)


def overlay(image: Image, shown: npt.NDArray[np.float32]) -> Image:
    """Return `image` as grey, under the colours of `shown` (H, W) in [0, 1] where that is high."""
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    strength = np.clip(shown, 0, 1)[..., None]
    colours = 255 * colormaps[COLOURS](UNIT(shown))[..., :3]
    mixed: Image = ((1 - strength) * grey + strength * colours).astype(np.uint8)
    return mixed


def _fill(row: Sequence[Axes], strip: Strip) -> None:
    prompt, query, truth, shown, over = row
    prompt.imshow(strip.prompt)
    query.imshow(strip.query)
    truth.imshow(tint(strip.query, strip.truth))
    shown.imshow(strip.map, cmap=COLOURS, norm=UNIT)
    over.imshow(overlay(strip.query, strip.map))
    for cell in row:
        cell.set_axis_off()
    left = row[0].transAxes
    row[0].text(-0.06, 0.5, strip.label, transform=left, fontsize=8, ha="right", va="center", parse_math=False)
