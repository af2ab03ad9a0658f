"""What cannot go together is refused when all parameters are read, before the first stage runs."""

import pytest
import yaml

from configs.errors import BadRequest
from configs.everything import Everything, MetaCANEverything, OneNIPEverything, load_everything
from tests.conftest import ROOT


def params_file(folder, name, section, changes):
    """A ready file with changes in one section, whose keys `section` names from the outside in."""
    values = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    inner = values
    for key in section:
        inner = inner[key]
    inner |= changes
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


KINDS = [("demo", Everything), ("onenip_multiclass", OneNIPEverything), ("metacan_mvtec", MetaCANEverything)]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_the_system_says_how_the_rest_is_read(name, kind):
    assert type(load_everything(ROOT / "configs" / f"{name}.yaml")) is kind


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("train", {"restoration": False}, "a refiner learns from damaged images"),
        ("synth", {"variation_prob": 0.5}, "set synth.variation_prob and ground_prob to 0"),
        ("synth", {"ground_prob": 0.5}, "set synth.variation_prob and ground_prob to 0"),
        ("evaluate", {"size_px": 256}, "set evaluate.size_px to null"),
        ("evaluate", {"keep_aspect": True}, "set evaluate.keep_aspect to false"),
        ("evaluate", {"variants": ["best+clip"]}, r"leave best\+clip out of variants"),
        ("model", {"system": "another"}, "model.system = 'another'"),
        ("model", {"alignment": "soft"}, "model.alignment is not a parameter"),
    ],
)
def test_what_onenip_cannot_do_is_one_line(tmp_path, section, changes, said):
    path = params_file(tmp_path, "onenip_multiclass", [section], changes)
    with pytest.raises(BadRequest, match=said) as raised:
        load_everything(path)
    assert "\n" not in str(raised.value)


def test_its_own_size_may_be_said_again(tmp_path):
    size_px = yaml.safe_load((ROOT / "configs" / "onenip_multiclass.yaml").read_text())["size_px"]
    path = params_file(tmp_path, "onenip_multiclass", ["evaluate"], {"size_px": [size_px] * 2})
    assert load_everything(path).model.system == "onenip"


@pytest.mark.parametrize(
    ("section", "changes", "said"),
    [
        ("evaluate", {"size_px": 256}, "set evaluate.size_px to null"),
        ("evaluate", {"shots_mean": "features"}, "shots_mean to maps"),
        ("evaluate", {"variants": ["one", "best"]}, r"variants to \[one\] or \[one, winclip\+\]"),
        ("evaluate", {"protocol": "paper", "image_score": "max"}, "set evaluate.image_score to own"),
        (
            "evaluate",
            {"clip_weights": None},
            r"evaluate.clip_weights is None, features.clip.weights \S+; make them one",
        ),
        ("evaluate", {"root": "../mvtec_ad/"}, "test images, defects and all, are learned from"),
        ("evaluate", {"root": "../mvtec_ad/screw"}, "test images, defects and all, are learned from"),
        ("features", {"clip": None}, "MetaCAN learns from features, but features.clip is null"),
        ("model", {"terms": ["low", "mid"]}, "without the term text nothing learns"),
        ("model", {"terms": ["text", "text"]}, "wanted each once"),
        ("model", {"learns_from": "pairs"}, "model.learns_from = 'pairs'"),
        ("train", {"support": 5}, "train.support = 5"),
    ],
)
def test_what_metacan_cannot_do_is_one_line(tmp_path, section, changes, said):
    path = params_file(tmp_path, "metacan_mvtec", [section], changes)
    with pytest.raises(BadRequest, match=said) as raised:
        load_everything(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"blocks": [12, 7, 1]}, r"blocks are \[12, 7, 1\]; wanted three of 1 to 12, ascending"),
        ({"blocks": [1, 7, 13]}, "wanted three of 1 to 12"),
        ({"tasks": "kinds"}, "layout mvtec has groups alone, and no kinds of changes; set tasks to groups"),
    ],
)
def test_features_that_cannot_be_are_refused_before_they_are_made(tmp_path, changes, said):
    path = params_file(tmp_path, "metacan_mvtec", ["features", "clip"], changes)
    with pytest.raises(BadRequest, match=said):
        load_everything(path)


@pytest.mark.parametrize("changes", [{"variants": ["one", "winclip+"]}, {"image_score": "own"}])
@pytest.mark.parametrize("name", ["demo", "onenip_multiclass"])
def test_what_is_metacan_s_alone_is_refused_elsewhere(tmp_path, name, changes):
    path = params_file(tmp_path, name, ["evaluate"], changes)
    with pytest.raises(BadRequest, match="winclip\\+ and image_score own are MetaCAN's"):
        load_everything(path)
