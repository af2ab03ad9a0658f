import argparse
from pathlib import Path
from statistics import mean, stdev

import pytest
import yaml

from benchmarks.learning import HEADINGS, Benchmark, Line, changed, combined, show_categories, variant
from tests.conftest import ROOT


def test_a_variant_is_a_name_and_typed_changes():
    assert variant(["best", "train.lr=2.0e-3", "model.fusion=absdiff", "train.clip_norm=null"]) == (
        "best",
        {"train.lr": 0.002, "model.fusion": "absdiff", "train.clip_norm": None},
    )


@pytest.mark.parametrize(
    ("text", "benchmark"),
    [
        ("nut=../nuts", Benchmark("nut", Path("../nuts"), None)),
        ("large=../nuts@256", Benchmark("large", Path("../nuts"), 256)),
        ("at=../me@home/nuts", Benchmark("at", Path("../me@home/nuts"), None)),
        ("is=a=b", Benchmark("is", Path("a=b"), None)),
    ],
)
def test_a_benchmark_is_a_name_a_folder_and_perhaps_a_size(text, benchmark):
    assert Benchmark.parse(text) == benchmark


@pytest.mark.parametrize("text", ["../nuts", "=../nuts", "nut="])
def test_a_benchmark_without_a_name_or_a_folder_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"wanted NAME=ROOT or NAME=ROOT@PX"):
        Benchmark.parse(text)


def test_changes_leave_the_params_they_start_from_as_they_are():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    before = yaml.safe_dump(params)
    assert changed(params, {"train.augment.rotate_deg": 3.0})["train"]["augment"]["rotate_deg"] == 3.0
    assert yaml.safe_dump(params) == before


@pytest.mark.parametrize("key", ["train.lrr", "trai.lr"])
def test_a_change_to_what_is_not_a_parameter_is_refused(key):
    with pytest.raises(SystemExit, match="no such parameter"):
        changed({"train": {"lr": 1.0}}, {key: 1})


def test_figures_of_seeds_are_combined_one_by_one():
    results = [{"pairs": 10, "val": {"all": 0.5}}, {"pairs": 10, "val": {"all": 0.7}}]

    assert combined(results, mean) == {"pairs": 10, "val": {"all": pytest.approx(0.6)}}
    assert combined(results, stdev) == {"pairs": 0, "val": {"all": pytest.approx(0.02**0.5)}}


PATCHCORE = {"I-AUROC": 0.5, "P-AP": 0.3, "AUPRO": 0.2}


def result(score: float) -> dict:
    """One of a run that found everything on hazelnuts but scored `score` on pairs."""
    scores = {"I-AUROC": 1.0, "P-AP": score / 2, "AUPRO": score}
    return {
        "pairs": 1200,
        "pairs_per_s": 10.0,
        "unchanged": {"images": 0.25, "pixels": 0.01},
        "val": {"metauas": {"all": score, "local": score / 4}, "patchcore": {"all": 0.4}},
        "benchmarks": {"hazelnut": {"mean": {"metauas": scores, "patchcore": PATCHCORE}}},
    }


@pytest.mark.parametrize(
    ("line", "cells"),
    [
        (
            Line("paper", "0", result(0.8), "metauas"),
            ["paper", "0", "1200", "10.0", "2.0", "0.800", "", "", "0.200", "", "0.250", "0.010", "1.000", "0.400"],
        ),
        (
            Line("paper", "sd", combined([result(0.8), result(0.6)], stdev), "metauas"),
            ["paper", "sd", "", "", "", "0.141", "", "", "0.035", "", "0.000", "0.000", "0.000", "0.071"],
        ),
        (
            Line("patchcore (no training)", "", result(0.8), "patchcore"),
            ["patchcore (no training)", "", "", "", "", "0.400", "", "", "", "", "", "", "0.500", "0.300"],
        ),
    ],
    ids=["a run", "a deviation", "a baseline"],
)
def test_a_line_has_a_figure_under_each_heading_or_nothing(line, cells):
    assert line.cells(["hazelnut"]) == cells
    assert len(cells) == len(HEADINGS) + 2


def test_a_benchmark_is_shown_by_category_with_deviations_over_seeds(capsys):
    show_categories("hazelnut", {"paper": [result(0.8), result(0.6)]})
    shown = capsys.readouterr().out
    assert "100.0±0.0 / 35.0±7.1 / 70.0±14.1" in shown
    assert "50.0±0.0 / 30.0±0.0 / 20.0±0.0" in shown
