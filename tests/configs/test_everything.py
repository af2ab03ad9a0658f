"""What cannot go together is refused when all parameters are read, before the first stage runs."""

import pytest
import yaml

from configs.errors import BadRequest
from configs.everything import Everything, OneNIPEverything, load_everything
from tests.conftest import ROOT


@pytest.mark.parametrize(("name", "kind"), [("demo", Everything), ("onenip_multiclass", OneNIPEverything)])
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
    values = yaml.safe_load((ROOT / "configs" / "onenip_multiclass.yaml").read_text())
    values[section] |= changes
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(BadRequest, match=said) as raised:
        load_everything(tmp_path / "params.yaml")
    assert "\n" not in str(raised.value)


def test_its_own_size_may_be_said_again(tmp_path):
    values = yaml.safe_load((ROOT / "configs" / "onenip_multiclass.yaml").read_text())
    values["evaluate"]["size_px"] = [values["size_px"]] * 2
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    assert load_everything(tmp_path / "params.yaml").model.system == "onenip"
