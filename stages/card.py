"""DVC stage `card`: data/pairs + reports/quality -> reports/data, the card of a data set.  Run: dvc repro card."""

import csv
import shutil
from pathlib import Path

from configs.card import CardParams
from configs.errors import run
from configs.section import load
from pipeline.publish import draw_areas, draw_visible, sha256_of, summarise, write_card, write_croissant
from pipeline.records import RECORDS_TABLE
from pipeline.shards import MANIFEST
from pipeline.source import SPLITS

PAIRS = Path("data/pairs")
MEASURED = Path("reports/quality/measured.csv")
REPORT = Path("reports/data")
FROM_REPORT = "../.."  # the project's root
CHARTS = {"areas of the masks": "areas.png", "what of the masks can be seen, of a sample": "visible.png"}


def main() -> None:
    """Write card, Croissant file and pictures of the pairs."""
    name = load(CardParams).card.name
    said = summarise(PAIRS, SPLITS)
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    areas, visible = CHARTS.values()
    draw_areas(REPORT / areas, said.areas)
    draw_visible(REPORT / visible, read_visible(MEASURED))
    (REPORT / "README.md").write_text(write_card(said, name, "zarr", CHARTS, PAIRS.as_posix()))
    files = {f"{FROM_REPORT}/{PAIRS / file}": sha256_of(PAIRS / file) for file in (RECORDS_TABLE, MANIFEST)}
    (REPORT / "croissant.json").write_text(write_croissant(said, name, files, next(iter(files)), None))
    print(f"card: {REPORT}/README.md and croissant.json, of {said.pairs} pairs")


def read_visible(path: Path) -> dict[str, list[float]]:
    """The visible shares of the masks of the pairs that stage quality measured, by kind."""
    found: dict[str, list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["kind"], []).append(float(row["visible"]))
    return found


if __name__ == "__main__":
    run(main)
