from statistics import mean, stdev

import pytest
import yaml

from benchmarks.learning import changed, combined, variant
from tests.conftest import ROOT


def test_a_variant_is_a_name_and_typed_changes():
    assert variant(["best", "train.lr=2.0e-3", "model.fusion=absdiff", "train.clip_norm=null"]) == (
        "best",
        {"train.lr": 0.002, "model.fusion": "absdiff", "train.clip_norm": None},
    )


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
