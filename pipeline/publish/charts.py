"""Pictures for the card: how large the masks are, and how much of them can be seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

BINS = 40
LEAST_AREA = 1e-4  # of the image: the axis is logarithmic


def draw_areas(path: Path, areas: Mapping[str, npt.NDArray[np.float64]]) -> None:
    """Histograms of the masks' shares of the image, a line a kind, as PNG."""
    edges = np.geomspace(LEAST_AREA, 1, BINS + 1)
    changed = {kind: np.clip(own, LEAST_AREA, 1) for kind, own in areas.items() if own.any()}
    _lines(path, changed, edges, "share of the image that is masked", log=True)


def draw_visible(path: Path, visible: Mapping[str, Sequence[float]]) -> None:
    """Histograms of the visible shares of the masks, a line a kind, as PNG."""
    shares = {kind: np.asarray(own, np.float64) for kind, own in visible.items() if len(own)}
    _lines(path, shares, np.linspace(0, 1, BINS + 1), "share of a mask's pixels that differ visibly", log=False)


def _lines(
    path: Path, values: Mapping[str, npt.NDArray[np.float64]], edges: npt.NDArray[np.float64], label: str, *, log: bool
) -> None:
    figure = Figure(figsize=(8, 3.6), layout="constrained")  # no pyplot: its figures are the process's
    axes = figure.subplots()
    for kind, own in values.items():
        counts, _ = np.histogram(own, edges)
        axes.stairs(counts / len(own), edges, label=f"{kind} ({len(own):,})", linewidth=1.5)
    if log:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel(label)
    axes.set_ylabel("share of the pairs")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    # Without the version of matplotlib and the time: the same data give the same bytes.
    figure.savefig(path, dpi=110, metadata={"Software": None})
