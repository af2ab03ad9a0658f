"""Scores that papers and their authors print, to stand beside ours: the lines of paper_scores.csv.

In percent, with the standard deviation over prompts where there are several.
"""

import csv
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from model.scores import MEAN, NAMES

TABLE = Path(__file__).with_suffix(".csv")


@dataclass(frozen=True)
class Printed:
    """What is printed of one benchmark."""

    benchmark: str
    categories: int  # it has
    size: str  # at which it was scored, such as "256 px"
    source: str
    # Category or MEAN -> method -> in the order of `NAMES`, "" where nothing is printed.
    scores: dict[str, dict[str, list[str]]] = field(default_factory=dict)


@cache
def printed() -> tuple[Printed, ...]:
    """Every benchmark of the table."""
    found: dict[str, Printed] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            name, size = line["benchmark"], f"{line['size_px']} px" if line["size_px"] else "size not stated"
            known = found.setdefault(name, Printed(name, int(line["categories"]), size, line["source"]))
            known.scores.setdefault(line["category"], {})[line["method"]] = [line.get(score) or "" for score in NAMES]
    return tuple(found.values())


def printed_of(categories: Collection[str]) -> Printed | None:
    """What is printed of the benchmark that has these categories, all of them and no others; None if none has.

    A folder that happens to be called bottle is not MVTec AD.
    """
    names = {plain(name) for name in categories}
    for known in printed():
        if len(names) == known.categories and known.scores.keys() - {MEAN} <= names:
            return known
    return None


def plain(category: str) -> str:
    """A category's name as papers write it: metal_nut is "metal nut"."""
    return category.replace("_", " ").lower()
