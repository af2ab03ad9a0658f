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
    """What is printed of a system, and of what stands beside it, on one benchmark."""

    system: str  # of ours, whose lines it belongs to
    benchmark: str
    categories: int  # it has
    source: str
    # Category or MEAN -> method and size -> in the order of `NAMES`, "" where nothing is printed.
    scores: dict[str, dict[str, list[str]]] = field(default_factory=dict)


@cache
def printed() -> tuple[Printed, ...]:
    """Every system on every benchmark of the table."""
    found: dict[tuple[str, str], Printed] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            system, name = line["system"], line["benchmark"]
            known = found.setdefault((system, name), Printed(system, name, int(line["categories"]), line["source"]))
            size = f"{line['size_px']} px" if line["size_px"] else "size not stated"
            scores = [line.get(score) or "" for score in NAMES]
            known.scores.setdefault(line["category"], {})[f"{line['method']}, {size}"] = scores
    return tuple(found.values())


def printed_of(system: str, categories: Collection[str]) -> Printed | None:
    """What is printed of a system on the benchmark that has these categories, all of them and no others, if anything.

    A folder that happens to be called bottle is not MVTec AD.
    """
    names = {plain(name) for name in categories}
    for known in printed():
        # Of MetaCAN only means are printed; of the same benchmark others' lines have the names.
        own = {name for other in printed() if other.benchmark == known.benchmark for name in other.scores} - {MEAN}
        if known.system == system and len(names) == known.categories and own <= names:
            return known
    return None


def plain(category: str) -> str:
    """A category's name as papers write it: metal_nut is "metal nut"."""
    return category.replace("_", " ").lower()
