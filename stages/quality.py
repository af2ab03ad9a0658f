"""DVC stage `quality`: data/pairs -> reports/quality.  Run: dvc repro quality."""

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from configs.errors import run
from configs.quality import QualityParams
from configs.section import load
from pipeline.changes import (
    AREA_BINS,
    PUBLISHED_AREAS,
    PairQuality,
    area_histogram,
    measure_pair,
    sample_pairs,
    summarise_quality,
)
from pipeline.shards import Shard, open_shard, read_manifest
from pipeline.sheet import SheetEntry, contact_sheet
from pipeline.spread import spread

PAIRS = Path("data/pairs")
REPORTS = Path("reports/quality")
SEAMS = {"original": "seam before", "changed": "seam"}  # column of the plot -> figure

Measured = tuple[str, int, PairQuality]  # shard, place in it, measures


def main() -> None:
    """Measure a sample of the pairs, and lay some of each kind side by side."""
    params = load(QualityParams)
    manifest = read_manifest(PAIRS)
    where = manifest.where(PAIRS)
    shards = {entry.name: open_shard(where, manifest.key(entry)) for entry in manifest.shards}
    found: dict[str, list[Measured]] = {}
    for name, place in sample_pairs([(entry.name, entry.pairs) for entry in manifest.shards], params.quality.pairs):
        entry = read_entry(shards[name], place)
        if entry.mask.any():
            kind = shards[name].kinds[int(np.asarray(shards[name].kind[place]))]
            quality = measure_pair(entry.original, entry.changed, entry.mask, params.visible.min_contrast)
            found.setdefault(kind, []).append((name, place, quality))
    shutil.rmtree(REPORTS, ignore_errors=True)
    (REPORTS / "sheets").mkdir(parents=True)
    figures = {
        kind: summarise_quality(kind, [quality for *_, quality in found[kind]])
        for kind in manifest.kinds
        if kind in found
    }
    made = {"made": sum(manifest.kinds.values()), "distinct": manifest.distinct}
    write_figures(figures, made)
    measured = [
        (kind, name, place, round(quality.area, 6), round(quality.visible, 6))
        for kind, own in found.items()
        for name, place, quality in own
    ]
    write_csv("measured.csv", ("kind", "shard", "place", "area", "visible"), measured)
    for kind in manifest.kinds:
        write_areas(kind, [quality.area for *_, quality in found.get(kind, [])])  # the plot names them all
    for kind in figures:
        picked = spread(len(found[kind]), params.quality.sheet_pairs)
        write_sheet(kind, [found[kind][number] for number in picked], shards)
    seen = ", ".join(f"{kind} {own['visible share of mask']:.0%}" for kind, own in figures.items())
    looked_at = sum(map(len, found.values()))
    print(
        f"quality: {made['distinct']} of {made['made']} pairs are distinct; visible share of the masks of {looked_at}:"
        f" {seen}"
    )


def read_entry(shard: Shard, place: int, caption: str = "") -> SheetEntry:
    """One pair of a shard."""
    original, changed = np.asarray(shard.pair[place])
    return SheetEntry(original, changed, np.asarray(shard.mask[place]) > 0, caption, shard.prompt(place))


def write_figures(figures: Mapping[str, Mapping[str, float | int]], made: Mapping[str, int]) -> None:
    """Write what `dvc metrics show` compares, what it is to be compared with, and the tables behind the bar plots."""
    (REPORTS / "metrics.json").write_text(json.dumps({"all": made, **figures}, indent=1) + "\n")
    published = {kind: asdict(area) for kind, area in PUBLISHED_AREAS.items()}
    (REPORTS / "published_areas.json").write_text(json.dumps(published, indent=1) + "\n")
    seams = [(f"{kind}, {when}", own[key]) for kind, own in figures.items() for when, key in SEAMS.items()]
    write_csv("seams.csv", ("place", "levels"), seams)
    write_csv("visible.csv", ("kind", "share"), [(kind, own["visible share of mask"]) for kind, own in figures.items()])


def write_areas(kind: str, areas: Sequence[float]) -> None:
    """Write the histogram of mask areas of one kind, and which of its bins others state."""
    (REPORTS / "areas").mkdir(exist_ok=True)
    known = PUBLISHED_AREAS.get(kind)
    rows = [
        (end, round(share, 5), int(known is not None and known.low < end <= known.high))
        for end, share in zip(AREA_BINS, area_histogram(areas), strict=True)
    ]
    write_csv(f"areas/{kind}.csv", ("area_up_to", "pairs", "published"), rows)


def write_sheet(kind: str, picked: Iterable[Measured], shards: Mapping[str, Shard]) -> None:
    """Write the contact sheet of one kind."""
    entries = [
        read_entry(shards[name], place, f"{name} {place}: {quality.area:.1%} masked, {quality.visible:.0%} visible")
        for name, place, quality in picked
    ]
    sheet = cv2.cvtColor(contact_sheet(entries), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(REPORTS / "sheets" / f"{kind}.png"), sheet)


def write_csv(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table into the reports."""
    with (REPORTS / name).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    run(main)
