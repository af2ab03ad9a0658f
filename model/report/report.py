"""Results as files for people and programs: metrics.json, scores.csv, table.md, pictures, curves and report.html.

All of these are the same whenever the same network is scored. What is not, the time that it took, is in cost.md alone.
"""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from model.benchmark import BASELINES, Cost, Outcome
from model.pictures import draw_sheet, write_picture
from model.report.page import PUBLISHED, page
from model.report.paper_scores import Printed, plain, printed_of
from model.scores import ALL, BENCHMARK, MEAN, NAMES, Row

DIGITS = 6
UNDEFINED = "-"
PIXEL_NAMES = NAMES[3:]
HEADINGS = ("category", "method", "images", *NAMES)
COST_HEADINGS = ("method", "parameters (M)", "learnable (M)", "input")
TIME_HEADINGS = ("ms a query", "queries at a time", "on")

Tree = dict[str, "float | Tree | None"]
Table = tuple[str, Sequence[str], list[list[str]]]  # title, headings, lines; best cells are in **


def write_report(outcome: Outcome, metrics: Path, folder: Path, title: str) -> None:
    """Write the results in every form: `metrics` a JSON file, everything else into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    metrics.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_text(json.dumps(metrics_tree(outcome.rows, outcome.network), indent=2) + "\n")
    write_csv(folder / "scores.csv", outcome.rows)
    tables = [*score_tables(outcome.rows, printed_of(outcome.system, outcome.whole)), *cost_tables(outcome.costs)]
    if outcome.costs:
        (folder / "cost.md").write_text(markdown(cost_tables(outcome.costs, timed=True), ["Times as measured once."]))
    (folder / "table.md").write_text(markdown(tables, notes_of(outcome)))
    outcome.curves.write(folder / "curves")
    figures = {name: draw_sheet(name, strips) for name, strips in outcome.sheets.items()}
    for name, figure in figures.items():
        write_picture(folder / "pictures" / f"{name.replace(' ', '_')}.png", figure)
    (folder / "report.html").write_text(page(title, notes_of(outcome), tables, outcome.curves, figures))


def metrics_tree(rows: Sequence[Row], method: str) -> Tree:
    """What `dvc metrics show` compares: rounded scores in [0, 1], None where undefined.

        {set: {category: {score: ..}}, "deviation": {set: ..} (over several prompts),
         "variant": {other variant: {set: {score: ..}}}, "baseline": {other method: {set: {score: ..}}}}

    A set of pairs has no level of categories and pixel scores only; its pixel AP by kind stands as "P-AP <kind>". Of
    variants and baselines only the mean over categories, or the whole set of pairs, is kept.
    """
    tree: Tree = {}
    deviation: Tree = {}
    others: dict[str, Tree] = {"variant": {}, "baseline": {}}
    pairs = {row.set_name for row in rows if row.category == ALL}
    for row in rows:
        names = PIXEL_NAMES if row.set_name in pairs else NAMES
        scores: Tree = {name: _rounded(row.scores.by_name()[name]) for name in names}
        whole = row.category in (MEAN, ALL)
        if row.method != method:
            if whole:
                kind = "baseline" if row.method in BASELINES else "variant"
                _branch(others[kind], row.method)[row.set_name] = scores
        elif row.set_name not in pairs:
            _branch(tree, row.set_name)[row.category] = scores
            if row.deviation:
                spread: Tree = {name: _rounded(value) for name, value in row.deviation.by_name().items()}
                _branch(deviation, row.set_name)[row.category] = spread
        elif whole:
            _branch(tree, row.set_name).update(scores)
        else:
            _branch(tree, row.set_name)[f"P-AP {row.category}"] = scores["P-AP"]
    rest: Tree = {"deviation": deviation, **others}
    return {**tree, **{name: branch for name, branch in rest.items() if branch}}


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write one line per (set, category, method): scores in [0, 1], empty where undefined or drawn only once."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("set", *HEADINGS, *(f"{name} deviation" for name in NAMES)))
        for row in rows:
            values = [_rounded(value) for value in row.scores.by_name().values()]
            deviations = row.deviation.by_name() if row.deviation else {}
            values += [_rounded(deviations[name]) if deviations else None for name in NAMES]
            writer.writerow((row.set_name, row.category, row.method, row.images, *values))


def score_tables(rows: Sequence[Row], known: Printed | None = None) -> list[Table]:
    """A table per set, in percent; the best of a category is bold, and what is `known` of the benchmark follows.

    The mean that is printed stands only beside one over all categories.
    """
    tables: list[Table] = []
    for set_name, group in groupby(rows, key=lambda row: row.set_name):
        own = list(group)
        lines = []
        names = {row.category for row in own} - {MEAN}
        for category, of_category in groupby(own, key=lambda row: row.category):
            lines += [_cells(row, best) for row, best in _with_best(list(of_category))]
            if known and set_name == BENCHMARK and (category != MEAN or len(names) == known.categories):
                printed = known.scores.get(MEAN if category == MEAN else plain(category), {})
                for method, scores in printed.items():
                    lines.append([category, f"{PUBLISHED}: {method}", "", *scores])
        tables.append((set_name, HEADINGS, lines))
    return tables


def cost_tables(costs: Sequence[Cost], *, timed: bool = False) -> list[Table]:
    """A table like the paper's Table 2, with times or without; none without costs."""
    lines = [
        [
            cost.method,
            f"{cost.parameters / 1e6:.1f}",
            f"{cost.learnable / 1e6:.1f}",
            f"{cost.size[1]} x {cost.size[0]}",
            *((f"{cost.ms:.1f}", str(cost.batch), cost.device) if timed else ()),
        ]
        for cost in costs
    ]
    return [("cost", (*COST_HEADINGS, *(TIME_HEADINGS if timed else ())), lines)] if lines else []


def notes_of(outcome: Outcome) -> list[str]:
    """What has to be known to read the tables."""
    known = printed_of(outcome.system, outcome.whole)
    cited = [f"Lines 'published: ..' are of {known.benchmark} as printed ({known.source})."] if known else []
    return [f"Scores in percent; {UNDEFINED} is undefined.", *outcome.notes, *cited]


def markdown(tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Notes and tables as Markdown."""
    parts = ["\n".join(f"- {note}" for note in notes)]
    for title, headings, lines in tables:
        words = sum(1 for cell in lines[0] if not cell[:1].isdigit() and cell not in ("", UNDEFINED)) if lines else 0
        rule = ["---"] * min(2, words) + ["---:"] * (len(headings) - min(2, words))
        body = [_markdown_line(headings), _markdown_line(rule), *map(_markdown_line, lines)]
        parts.append("\n".join([f"## {title}", "", *body]))
    return "\n\n".join(parts) + "\n"


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
    """Each row of a category with the highest text of every score among its methods."""
    rivals = [row.scores.by_name() for row in rows]
    best = {name: _percent(max((rival[name] for rival in rivals), key=_or_below)) for name in NAMES}
    return ((row, best) for row in rows)


def _cells(row: Row, best: dict[str, str]) -> list[str]:
    """Equal figures are all marked, undefined ones never."""
    spread = row.deviation.by_name() if row.deviation else {}
    cells = []
    for name, value in row.scores.by_name().items():
        text = _percent(value)
        whole = f"{text}±{_percent(spread[name])}" if name in spread and text != UNDEFINED else text
        cells.append(f"**{whole}**" if text == best[name] != UNDEFINED else whole)
    return [row.category, row.method, str(row.images), *cells]


def _or_below(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _percent(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{100 * value:.1f}"


def _markdown_line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)  # a category's name may hold one
    return f"| {' | '.join(escaped)} |"
