import math
from pathlib import Path

import pytest
import yaml

from configs.errors import BadRequest
from configs.everything import Everything
from configs.section import load
from configs.synth import SynthParams
from pipeline.arrays import height_width

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"


def edited(tmp_path: Path, change) -> Path:
    values = yaml.safe_load(DEMO.read_text())
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_stage_reads_its_part_of_the_whole():
    assert load(SynthParams, DEMO).synth == load(Everything, DEMO).synth


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p["synth"].update(local_prob=1.5),
            r"synth\.local_prob = 1\.5: Input should be less than or equal to 1",
        ),
        (lambda p: p["synth"].update(local_prop=0.5), r"synth\.local_prop is not a parameter"),
        (lambda p: p["synth"].pop("tries"), r"synth\.tries is missing"),
        (lambda p: p["train"].update(lr="1e-4"), r"train\.lr = '1e-4': .*write 0\.0001 with a point, as in 1\.0e-4"),
        (lambda p: p["synth"].update(pairs_per_image="4"), r"synth\.pairs_per_image = '4'"),
        (lambda p: p["synth"]["area_share"].update(low=0.9), r"synth\.area_share = .*low 0\.9 is above high 0\.6"),
        (
            lambda p: p["synth"].update(area_share={"low": 20.0, "high": 60.0}),
            r"synth\.area_share = .*wanted parts of a whole, in \[0, 1\]; found 20\.0 \.\. 60\.0",
        ),
        (
            lambda p: p["synth"]["paste"].update(scale={"low": 0.0, "high": 1.5}),
            r"synth\.paste\.scale = .*wanted factors above 0; found 0\.0",
        ),
        (
            lambda p: p["synth"]["local"].update(texture_weight={"low": -1.0, "high": 0.5}),
            r"synth\.local\.texture_weight = .*wanted parts of a whole",
        ),
        (
            lambda p: p["synth"]["area_share"].update(low=math.nan),
            r"area_share\.low = nan: .* finite number",
        ),
        (lambda p: p["synth"]["paste"]["scale"].update(high=math.inf), r"scale\.high = inf: .* finite number"),
        (lambda p: p["train"].update(lr=math.inf), r"train\.lr = inf: .* finite number"),
        (lambda p: p["synth"]["defects"].update(stain=math.inf), r"defects\.stain = inf: .* finite number"),
        (
            lambda p: p["evaluate"].update(protocol="paper", scales=[1.0, 0.5]),
            r"evaluate = .*protocol paper stretches .* looks once",
        ),
        (lambda p: p["evaluate"].update(protocol="paper", image_score="top"), r"evaluate = .* takes the highest pixel"),
        (
            lambda p: p["evaluate"].update(variants=["pool"], keep_aspect=True),
            r"pool compares images of all categories",
        ),
        (
            lambda p: p["model"].update(weights="efficientnet-lite1"),
            r"model = .*weights efficientnet-lite1 are of tf_efficientnet_lite1, but encoder is tf_efficientnet_lite0",
        ),
        (lambda p: p.update(size_px=100), r"size_px = 100: Input should be a multiple of 32"),
        (lambda p: p.update(synht={}), r"synht is not a parameter; there are card, cluster, data"),
        (lambda p: p["cluster"].update(memory_limit="lots"), r"cluster\.memory_limit = 'lots': String should match"),
        (lambda p: p.pop("synth"), r"synth is missing"),
        (lambda p: p["synth"].update({"tries\n2": 1}), r"synth\.tries 2 is not a parameter"),
        (lambda p: p["data"].update(images=["a\nb"] * 99), r"data\.images = \['a.{95,99}\.\.: Input should be a valid"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(tmp_path, change, message):
    path = edited(tmp_path, change)

    with pytest.raises(BadRequest, match=message) as raised:
        load(Everything, path)

    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not YAML"), ("- 1", "found list, wanted sections"), ("", "found NoneType")]
)
def test_a_file_that_is_no_params_file_is_refused(tmp_path, text, message):
    path = tmp_path / "params.yaml"
    path.write_text(text)

    with pytest.raises(BadRequest, match=message):
        load(Everything, path)


def test_a_missing_file_says_what_to_copy(tmp_path):
    with pytest.raises(BadRequest, match=r"no such file; .*cp configs/demo\.yaml"):
        load(Everything, tmp_path / "params.yaml")


@pytest.mark.parametrize(("size_px", "expected"), [(256, (256, 256)), ([192, 320], (192, 320))])
def test_a_size_is_a_side_or_height_and_width(size_px, expected):
    assert height_width(size_px) == expected
