"""ROC and PR curves and histograms of image scores, as small tables that `dvc plots` and the report draw."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.scores.metrics import Tally

Values = npt.NDArray[np.float64]
GRID = np.linspace(0, 1, 101)  # of FPR, and of recall
BINS = np.linspace(0, 1, 21)  # of image scores
DIGITS = 4


@dataclass
class Curves:
    """Curves of every method, averaged over categories at fixed FPR and recall; image scores of the network."""

    roc: dict[str, list[Values]] = field(default_factory=dict)  # true positive rate at `GRID`, one for each category
    pr: dict[str, list[Values]] = field(default_factory=dict)  # precision at `GRID`
    normal: list[Values] = field(default_factory=list)  # scores of normal images
    anomalous: list[Values] = field(default_factory=list)

    def add(self, tallies: Mapping[str, Tally], network: Tally) -> None:
        """Add a category: the pixels of every method, the images of the network."""
        for name, tally in tallies.items():
            fpr, recall, precision = tally.curve()
            if fpr.size:
                # Several points at one FPR: the highest counts. Below the first threshold nothing is flagged.
                highest = np.append(fpr[1:] != fpr[:-1], True)
                ends = np.append(0, fpr[highest]), np.append(0, recall[highest])
                self.roc.setdefault(name, []).append(np.interp(GRID, np.append(ends[0], 1), np.append(ends[1], 1)))
                self.pr.setdefault(name, []).append(np.interp(GRID, recall, precision))
        scores, labels = network.images
        self.normal.append(scores[~labels].astype(np.float64))
        self.anomalous.append(scores[labels].astype(np.float64))

    def tables(self) -> dict[str, tuple[Sequence[str], list[list[float]]]]:
        """Headings and lines of each table: roc, pr and histogram."""
        roc = [GRID, *(np.mean(one, axis=0) for one in self.roc.values())]
        pr = [GRID, *(np.mean(one, axis=0) for one in self.pr.values())]
        counts = [np.histogram(np.clip(np.concatenate(own), 0, 1), BINS)[0] for own in (self.normal, self.anomalous)]
        bars = [(BINS[1:] + BINS[:-1]) / 2, *counts]
        return {
            "roc": (["fpr", *self.roc], _lines(roc)),
            "pr": (["recall", *self.pr], _lines(pr)),
            "histogram": (["score", "normal", "anomalous"], _lines(bars)),
        }

    def write(self, folder: Path) -> None:
        """Write each table as <name>.csv."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, (headings, lines) in self.tables().items():
            with (folder / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([headings, *lines])


def _lines(columns: Sequence[Values]) -> list[list[float]]:
    return [[round(float(value), DIGITS) for value in line] for line in zip(*columns, strict=True) if _finite(line)]


def _finite(line: Sequence[float]) -> bool:
    return all(map(math.isfinite, line))
