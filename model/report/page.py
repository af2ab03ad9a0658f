"""The results as one HTML page that opens without a network: tables, curves and picture sheets, all inside the file."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from string import Template

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from model.pictures import DPI
from model.scores import Curves

PUBLISHED = "published"  # how the method of a line from a paper begins, and the class of its row

JPEG_QUALITY = 88
BAR = 0.045  # width of a bar of the histogram; two stand in a bin of 0.05

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --dim: #667085; --paper: #fff; --line: #e3e7ee; --band: #f6f8fb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #98a2b3; --paper: #14181f; --line: #2b323d; --band: #1b212a; }
}
body { margin: 2.5rem auto; max-width: 68rem; padding: 0 1.25rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
ul { color: var(--dim); padding-left: 1.1rem; margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; white-space: nowrap; }
th { text-align: right; font-weight: 600; color: var(--dim); border-bottom: 2px solid var(--line); }
th, td { padding: .3rem .6rem; }
td { text-align: right; }
td.word, th.word { text-align: left; }
tr.first td { border-top: 1px solid var(--line); }
tr.published td { color: var(--dim); font-style: italic; }
tbody tr:hover { background: var(--band); }
figure { margin: 1rem 0; }
img { max-width: 100%; border: 1px solid var(--line); border-radius: 6px; background: #fff; }
.sheets { display: grid; grid-template-columns: repeat(auto-fill, minmax(28rem, 1fr)); gap: 1rem; }
.sheets figure { margin: 0; }
</style>
</head>
<body>
<h1>$title</h1>
<ul>$notes</ul>
$tables
<h2>curves</h2>
<figure><img alt="ROC and PR curves of the pixels, histogram of image scores" src="$curves"></figure>
<h2>pictures</h2>
<div class="sheets">$sheets</div>
</body>
</html>
""")


def page(
    title: str,
    notes: Sequence[str],
    tables: Sequence[tuple[str, Sequence[str], list[list[str]]]],
    curves: Curves,
    figures: Mapping[str, Figure],
) -> str:
    """Return the page: `tables` are title, headings and lines, **best** cells marked; `figures` are sheets by title."""
    return PAGE.substitute(
        title=escape(title),
        notes="".join(f"<li>{escape(note)}</li>" for note in notes),
        tables="\n".join(f"<h2>{escape(name)}</h2>\n{_table(headings, lines)}" for name, headings, lines in tables),
        curves=_png(_draw(curves)),
        sheets="\n".join(
            f'<figure><img alt="{escape(name)}" src="{_jpeg(figure)}"></figure>' for name, figure in figures.items()
        ),
    )


def _table(headings: Sequence[str], lines: list[list[str]]) -> str:
    words = [not any(re.match(r"\W*\d", line[column]) for line in lines) for column in range(len(headings))]
    kinds = [' class="word"' if word else "" for word in words]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for kind, name in zip(kinds, headings, strict=True))
    body = []
    for place, line in enumerate(lines):
        first = place == 0 or line[0] != lines[place - 1][0]
        classes = [name for name, holds in (("first", first), (PUBLISHED, line[1].startswith(PUBLISHED))) if holds]
        cells = "".join(f"<td{kind}>{_marked(cell)}</td>" for kind, cell in zip(kinds, line, strict=True))
        body.append(f'<tr class="{" ".join(classes)}">{cells}</tr>')
    inside = f"<thead><tr>{head}</tr></thead>\n<tbody>{''.join(body)}</tbody>"
    return f'<div class="wide"><table>{inside}</table></div>'


def _marked(cell: str) -> str:
    inner = cell.removeprefix("**").removesuffix("**")
    return f"<b>{escape(inner)}</b>" if inner != cell else escape(cell)


def _draw(curves: Curves) -> Figure:
    """ROC, PR and the histogram of image scores side by side."""
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    roc, pr, histogram = figure.subplots(1, 3)
    tables = curves.tables()
    for axes, name, title in ((roc, "roc", "ROC of the pixels"), (pr, "pr", "PR of the pixels")):
        headings, lines = tables[name]
        columns = np.array(lines).T
        for method, values in zip(headings[1:], columns[1:], strict=True):
            axes.plot(columns[0], values, label=method, linewidth=1.8)
        axes.set(xlabel=headings[0], ylabel="tpr" if name == "roc" else "precision", xlim=(0, 1), ylim=(0, 1.01))
        axes.set_title(f"{title}, mean over categories", fontsize=10)
    if roc.lines:
        roc.legend(frameon=False, fontsize=8, loc="lower right")
    headings, lines = tables["histogram"]
    scores, normal, anomalous = np.array(lines).T
    histogram.bar(scores, normal, BAR, label="normal", alpha=0.75)
    histogram.bar(scores, anomalous, BAR, label="anomalous", alpha=0.6)
    histogram.set(xlabel="image score", ylabel="images", xlim=(0, 1))
    histogram.set_title("scores of the images", fontsize=10)
    histogram.legend(frameon=False, fontsize=8)
    for axes in (roc, pr, histogram):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _png(figure: Figure) -> str:
    stored = io.BytesIO()
    figure.savefig(stored, format="png", dpi=DPI, metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(stored.getvalue()).decode()}"


def _jpeg(figure: Figure) -> str:
    """Photographs take a fifth of a PNG's room."""
    stored = io.BytesIO()
    figure.savefig(stored, format="rgba", dpi=DPI)
    width, height = (int(side * DPI) for side in figure.get_size_inches())
    pixels = np.frombuffer(stored.getvalue(), np.uint8).reshape(height, width, 4)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"
