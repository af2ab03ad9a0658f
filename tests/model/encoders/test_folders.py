import json

import pytest
import torch
import yaml

from configs.errors import BadRequest
from model.encoders.folders import find_pretrained, read_content
from model.metacan import MetaCAN
from model.metauas import MetaUAS
from model.onenip import OneNIP
from model.systems import open_network, system_of
from model.weights import Description, describe, main
from tests.model.checkpoints import save_checkpoint
from tests.model.clip_file import save_clip
from tests.model.lively import lively
from tests.model.metacan.tiny import ARGUMENTS

SYSTEMS = ("metauas", "onenip", "metacan")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip") / "clip.pt")


def network_of(system, clip):
    torch.manual_seed(0)
    if system == "metacan":
        return MetaCAN.from_clip(clip, **ARGUMENTS).eval()
    if system == "onenip":
        network = OneNIP("test_resnet", size=(64, 64), encoder_layers=1, decoder_layers=1).eval()
        network.normaliser.fill_(2.5)
        return network
    network = lively(MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8), similarity="cosine"))
    network.size = (64, 96)
    return network


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_was_saved_comes_back_by_its_name_and_by_any_command(tmp_path, clip, system):
    network, folder = network_of(system, clip), tmp_path / "nut"
    network.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    more = {"clip": clip} if system == "metacan" else {}
    for again in (type(network).from_pretrained(folder, **more), open_network(folder, clip)):
        assert system_of(again) == system
        assert again.size == network.size
        assert again.arguments == network.arguments
        assert not again.training
        state = again.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert describe(folder).kind.startswith("this project's")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_folder_of_another_system_is_refused(tmp_path, clip, system):
    network_of(system, clip).save_pretrained(tmp_path)
    for other in {MetaUAS, OneNIP, MetaCAN} - {type(network_of(system, clip))}:
        with pytest.raises(BadRequest, match="neither a"):
            other.from_pretrained(tmp_path)


def test_the_command_writes_a_card_that_says_where_a_network_is_from(tmp_path, capsys):
    torch.manual_seed(0)
    network = MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8))
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 64))
    content = torch.load(checkpoint, weights_only=True)
    content["metauas"] |= {
        "pairs": "ab12" * 16,
        "seed": 3,
        "code": "cd" * 32,
        "history": [{"val/loss": 0.5}],
        "versions": {"torch": "2.13"},
        "model": {"weights": "efficientnet-lite0"},
        "train": {"epochs": 4},
    }
    torch.save(content, checkpoint)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "table.md").write_text("| nut | 97.1 |\n")
    main([str(checkpoint), "--save", str(tmp_path / "nut"), "--report", str(tmp_path / "reports")])
    assert "nut: MetaUAS, as config.json, model.safetensors and README.md" in capsys.readouterr().err
    text = (tmp_path / "nut" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["library_name"] == "metauas-pipeline"
    for said in ("ab12" * 16, "seed 3, 1 epochs", "epochs: 4", "| nut | 97.1 |", "Apache-2.0", "NeurIPS 2024"):
        assert said in body
    config = json.loads((tmp_path / "nut" / "config.json").read_text())
    assert config["checkpoint"]["history"] == [{"val/loss": 0.5}]
    assert MetaUAS.from_pretrained(tmp_path / "nut").size == (64, 64)
    with pytest.raises(BadRequest, match=r"--report .*no table.md there"):
        main([str(checkpoint), "--save", str(tmp_path / "nut"), "--report", str(tmp_path)])


def test_a_copy_still_says_what_it_was_made_from(tmp_path):
    torch.manual_seed(0)
    network = MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8))
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 64))
    content = torch.load(checkpoint, weights_only=True)
    content["metauas"] |= {"pairs": "ab12" * 16}
    torch.save(content, checkpoint)
    MetaUAS.from_checkpoint(checkpoint).save_pretrained(tmp_path / "copy")
    assert read_content(tmp_path / "copy")["metauas"]["pairs"] == "ab12" * 16
    network.size = (64, 64)
    network.save_pretrained(tmp_path / "bare")
    main([str(tmp_path / "bare"), "--save", str(tmp_path / "again")])
    text = (tmp_path / "again" / "README.md").read_text()
    assert "does not say what it learned from" in text
    assert "published" not in text


def test_another_folder_is_never_written_over_and_our_own_is_whole(tmp_path, clip):
    network = network_of("metauas", clip)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my notes")
    with pytest.raises(BadRequest, match="is no folder of a network of ours; pass another name"):
        network.save_pretrained(tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "my notes"
    for _ in range(2):
        network.save_pretrained(tmp_path / "nut")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "nut"]


@pytest.mark.parametrize("size", [["100"], ["512", "256", "128"]])
def test_a_size_that_cannot_be_is_refused(tmp_path, monkeypatch, size):
    network = MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8))
    monkeypatch.setattr("model.weights.open_network", lambda *_: network)
    monkeypatch.setattr("model.weights.describe", lambda _: Description("", "", "", 0, 0))
    with pytest.raises(BadRequest, match="wanted a side or two, multiples of 32"):
        main([str(tmp_path / "metauas-256.ckpt"), "--save", str(tmp_path / "nut"), "--size", *size])
    with pytest.raises(BadRequest, match="pass --size 256 or 512"):
        main([str(tmp_path / "metauas-256.ckpt"), "--save", str(tmp_path / "nut")])
    with pytest.raises(BadRequest, match="are of --save; pass it too"):
        main([str(tmp_path / "metauas-256.ckpt"), "--size", "256"])
    network.size = (256, 256)
    with pytest.raises(BadRequest, match="says itself that it is for 256 x 256 px; leave it out"):
        main([str(tmp_path / "metauas-256.ckpt"), "--save", str(tmp_path / "nut"), "--size", "512"])


@pytest.mark.parametrize(
    ("system", "key", "value"),
    [("metacan", "sizes", {"image": 1}), ("metacan", "more", 1), ("onenip", "size", [64]), ("metauas", "levels", "4")],
)
def test_a_config_that_was_edited_wrongly_is_one_line(tmp_path, clip, system, key, value):
    network_of(system, clip).save_pretrained(tmp_path / "nut")
    path = tmp_path / "nut" / "config.json"
    config = json.loads(path.read_text())
    config["checkpoint"]["network"][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(BadRequest, match="nut"):
        open_network(tmp_path / "nut", clip)
    with pytest.raises(BadRequest, match="nut"):
        describe(tmp_path / "nut")


def test_an_exported_file_is_no_checkpoint(tmp_path):
    (tmp_path / "nut.onnx").write_bytes(b"onnx")
    with pytest.raises(BadRequest, match=r"nut.onnx: an exported file, which model.predict alone takes"):
        describe(tmp_path / "nut.onnx")


def test_a_network_of_no_known_size_wants_it(tmp_path):
    network = MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8))
    with pytest.raises(BadRequest, match="its size is not known; set it"):
        network.save_pretrained(tmp_path)


def test_what_is_no_such_folder_is_told(tmp_path, clip):
    with pytest.raises(BadRequest, match=r"a folder without config.json"):
        open_network(tmp_path)
    network_of("metauas", clip).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(BadRequest, match=r"config.json: not of this project \(KeyError: 'system'\)"):
        MetaUAS.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "README.md").unlink()
    network_of("metauas", clip).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(BadRequest, match=r"a folder without model.safetensors; complete it"):
        MetaUAS.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12")
    with pytest.raises(BadRequest, match="not a safetensors file"):
        MetaUAS.from_pretrained(tmp_path)
    with pytest.raises(BadRequest, match="no such checkpoint; `dvc repro train`"):
        read_content(tmp_path / "nowhere.ckpt")


def test_a_name_that_is_no_folder_is_asked_of_the_hub(tmp_path, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("model.encoders.folders.snapshot_download", download)
    assert find_pretrained("someone/metauas-nut") == tmp_path
    assert asked == [("someone/metauas-nut", ["config.json", "model.safetensors"])]

    def fails(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("model.encoders.folders.snapshot_download", fails)
    with pytest.raises(BadRequest, match=r"no such folder, and not to be had from the hub \(no network\)"):
        find_pretrained("someone/metauas-nut")
