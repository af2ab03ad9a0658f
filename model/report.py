"""Rows of results as files for people and programs."""

import csv
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from model.evaluate import ALL, MEAN, Row
from model.metrics import NAMES

DIGITS = 6
UNDEFINED = "-"
PIXEL_NAMES = NAMES[3:]
HEADINGS = ("category", "method", "images", *NAMES)

Tree = dict[str, "float | Tree | None"]


def metrics_tree(rows: Sequence[Row], method: str) -> Tree:
    """What `dvc metrics show` compares: rounded scores in [0, 1], None where undefined.

        {set: {category: {score: ..}}, "baseline": {other method: {set: {score: ..}}}}

    A set of pairs has no level of categories and pixel scores only; its pixel AP by kind stands as "P-AP <kind>". Of
    baselines only the mean over categories, or the whole set of pairs, is kept.
    """
    tree: Tree = {}
    baselines: Tree = {}
    pairs = {row.set_name for row in rows if row.category == ALL}
    for row in rows:
        names = PIXEL_NAMES if row.set_name in pairs else NAMES
        scores: Tree = {name: _rounded(row.scores.by_name()[name]) for name in names}
        whole = row.category in (MEAN, ALL)
        if row.method != method:
            if whole:
                _branch(baselines, row.method)[row.set_name] = scores
        elif row.set_name not in pairs:
            _branch(tree, row.set_name)[row.category] = scores
        elif whole:
            _branch(tree, row.set_name).update(scores)
        else:
            _branch(tree, row.set_name)[f"P-AP {row.category}"] = scores["P-AP"]
    return {**tree, "baseline": baselines}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write one line per (set, category, method): scores in [0, 1], empty where undefined."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("set", *HEADINGS))
        for row in rows:
            values = (_rounded(value) for value in row.scores.by_name().values())
            writer.writerow((row.set_name, row.category, row.method, row.images, *values))


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table per set, in percent; the best method of each category is bold."""
    parts = []
    for set_name, own in groupby(rows, key=lambda row: row.set_name):
        head = [
            f"## {set_name}",
            "",
            _markdown_line(HEADINGS),
            _markdown_line(["---"] * 2 + ["---:"] * (1 + len(NAMES))),
        ]
        lines = [_markdown_line(_cells(row, best)) for row, best in _with_best(list(own))]
        parts.append("\n".join(head + lines))
    return f"Scores in percent; {UNDEFINED} is undefined.\n\n" + "\n\n".join(parts) + "\n"


def in_short(rows: Sequence[Row], method: str) -> str:
    """One line: the two scores that tell most of `method`, on the benchmark and on the warped val pairs."""
    parts = [
        f"{row.set_name} P-AP {_percent(row.scores.p_ap)}, P-AUROC {_percent(row.scores.p_auroc)}"
        for row in rows
        if row.method == method and row.category in (MEAN, ALL)
    ]
    return "; ".join(parts)


def _branch(tree: Tree, name: str) -> Tree:
    branch = tree.setdefault(name, {})
    if not isinstance(branch, dict):
        raise TypeError(f"{name} is both a score and a group of scores")
    return branch


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, DIGITS)


def _with_best(rows: list[Row]) -> Iterator[tuple[Row, dict[str, str]]]:
    """Each row with the highest text of every score among the methods of its category."""
    for row in rows:
        rivals = [other.scores.by_name() for other in rows if other.category == row.category]
        yield row, {name: _percent(max((rival[name] for rival in rivals), key=_or_below)) for name in NAMES}


def _cells(row: Row, best: dict[str, str]) -> list[str]:
    """Equal figures are all marked, undefined ones never."""
    texts = {name: _percent(value) for name, value in row.scores.by_name().items()}
    marked = [f"**{text}**" if text == best[name] != UNDEFINED else text for name, text in texts.items()]
    return [row.category, row.method, str(row.images), *marked]


def _or_below(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _percent(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{100 * value:.1f}"


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
