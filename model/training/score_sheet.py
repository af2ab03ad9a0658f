"""A picture of scores: those of normal and of anomalous images, task by task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = {False: "#3b6fb6", True: "#d1495b"}
LABELS = {False: "normal", True: "anomalous"}
SPREAD = 0.16  # of the dots, to either side of their line


@dataclass(frozen=True)
class Scored:
    """Images of one task."""

    task: str
    scores: npt.NDArray[np.float32]  # (N,) in [0, 1]
    anomalous: npt.NDArray[np.bool_]  # (N,)


def write_scores(path: Path, title: str, tasks: Sequence[Scored]) -> None:
    """Draw a dot an image, a row a task, into a PNG."""
    figure = Figure(figsize=(8, 1.3 + 0.34 * len(tasks)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row, task in enumerate(tasks):
        for label, colour in COLOURS.items():
            own = task.scores[task.anomalous == label]
            line = row + (SPREAD if label else -SPREAD)
            shift = np.linspace(-SPREAD / 2, SPREAD / 2, len(own)) if len(own) > 1 else np.zeros(len(own))
            axes.scatter(own, line + shift, s=9, color=colour, alpha=0.7, label=LABELS[label] if not row else None)
    axes.set_yticks(range(len(tasks)), [task.task.replace("$", r"\$") for task in tasks], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("score", fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, loc="lower right", frameon=False, bbox_to_anchor=(1, 1), ncols=2)
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    figure.savefig(path)
