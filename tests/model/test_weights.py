import hashlib
import json
import pickle

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from configs.errors import BadRequest
from model.metacan.network import MetaCAN
from model.metauas.network import MetaUAS
from model.onenip.network import OneNIP
from model.weights import describe, main
from tests.model.checkpoints import save_checkpoint
from tests.model.clip_file import save_clip
from tests.model.metacan.tiny import ARGUMENTS, save
from tests.model.published_file import filled, published_shapes


def test_a_published_checkpoint_is_known_with_the_paper_s_counts(tmp_path, capsys):
    path = tmp_path / "metauas-512.ckpt"
    torch.save(filled(published_shapes()), path)
    main([str(path), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["kind"].startswith("published MetaUAS, for 256 or 512 px")
    assert (said["parameters"], said["learned"]) == (22_130_305, 4_581_689)
    assert said["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_our_own_checkpoint_says_its_encoder_and_size(tmp_path, capsys):
    network = MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8))
    main([str(save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 96)))])
    said = capsys.readouterr().out
    assert "this project's checkpoint, encoder test_resnet, trained at 64 x 96 px" in said
    assert f"{sum(p.numel() for p in network.parameters()):,} parameters" in said


@pytest.mark.parametrize(
    ("switches", "kind", "learned"),
    [
        (
            {},
            "published OneNIP for 224 x 224 px, of before or after the decoder's fix: the file cannot tell",
            8_372_625,
        ),
        ({"prompt": "none", "refiner": False}, "published UniAD for 224 x 224 px", 7_717_392),
    ],
)
def test_published_files_of_onenip_and_uniad_are_known_with_their_size_and_counts(tmp_path, switches, kind, learned):
    path = tmp_path / "ckpt.pkl"
    state = OneNIP("tf_efficientnet_b4", **switches).reconstruction.state_dict()
    torch.save({"state_dict": {f"module.reconstruction.{key}": value for key, value in state.items()}}, path)
    found = describe(path)
    assert found.kind == f"{kind}; without its encoder, whose parameters are counted all the same"
    assert (found.parameters - 3_635_984, found.learned) == (learned, learned)  # less those of b4 up to stride 16
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_our_own_onenip_says_its_prompt_encoder_and_size(tmp_path):
    network = OneNIP("test_resnet", size=(64, 96), prompt="static", encoder_layers=1, decoder_layers=1)
    found = describe(save_checkpoint(tmp_path / "best.ckpt", network, network.size, key="onenip"))
    assert found.kind == "this project's OneNIP, prompt static, encoder test_resnet, for 64 x 96 px"
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("named", [False, True])
def test_weights_of_an_encoder_are_known_by_what_they_say_or_by_their_tensors(tmp_path, named):
    state = timm.create_model("mobilenetv2_100").state_dict()
    metadata = {"architecture": "mobilenetv2_100"} if named else None
    save_file(state, tmp_path / "model.safetensors", metadata=metadata)
    torch.save(state, tmp_path / "model.pth")
    for name in ("model.safetensors", "model.pth"):
        found = describe(tmp_path / name)
        assert found.kind == "timm's weights of the encoder mobilenetv2_100"
        assert (found.parameters, found.learned) == (1_811_712, 0)


def hollow(tensors):
    """Tensors of the same shapes and names that take no room in a file."""
    return {key: torch.zeros(()).expand(value.shape) for key, value in tensors.items()}


def test_open_clip_s_file_is_known_and_how_much_of_it_there_is(tmp_path):
    with torch.device("meta"):
        whole = open_clip.model.CLIP(**open_clip.get_model_config("ViT-B-16-plus-240"))
    torch.save(hollow(whole.state_dict()), tmp_path / "clip.pt")
    torch.save({"state_dict": hollow(whole.visual.state_dict())}, tmp_path / "visual.pt")
    found, images = (describe(tmp_path / name) for name in ("clip.pt", "visual.pt"))
    assert found.kind == "open_clip's ViT-B-16-plus-240, both towers"
    assert (found.parameters, found.learned) == (210_154_959 - 1_777_615, 0)  # the released MetaCAN is of as many
    assert images.kind == "open_clip's ViT-B-16-plus-240, the image tower alone"
    assert images.parameters == sum(p.numel() for p in whole.visual.parameters())
    torch.save({"visual.class_embedding": torch.ones(3)}, tmp_path / "other.pt")
    with pytest.raises(BadRequest, match=r"other\.pt: not weights of ViT-B-16-plus-240"):
        describe(tmp_path / "other.pt")


def test_a_metacan_checkpoint_is_known_by_its_terms_and_its_clip_file(tmp_path):
    network = MetaCAN.from_clip(save_clip(tmp_path / "clip.pt"), **ARGUMENTS)
    found = describe(save(tmp_path / "best.ckpt", network))
    assert found.kind == (
        "this project's MetaCAN, of low, mid, high, text, trained with CLIP weights of sha256"
        f" {hashlib.sha256((tmp_path / 'clip.pt').read_bytes()).hexdigest()}"
    )
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert found.learned == sum(p.numel() for p in network.detector.parameters())


def test_the_released_metacan_is_known_by_its_names(tmp_path):
    with torch.device("meta"):
        tensors = hollow(MetaCAN().published_tensors())
    torch.save(tensors, tmp_path / "released.pyth")
    found = describe(tmp_path / "released.pyth")
    assert found.kind == "published MetaCAN, without CLIP's towers and without text"
    assert found.learned == 1_777_615
    del tensors["diff_head.bn2.running_var"]
    torch.save(tensors, tmp_path / "cut.pyth")
    with pytest.raises(BadRequest, match=r"keys do not fit MetaCAN: 1 missing \(diff_head\.bn2\.running_var\)"):
        describe(tmp_path / "cut.pyth")


class Harmful:
    def __reduce__(self):
        return (pytest.fail, ("code from a file of weights was run",))


def test_a_pickle_is_refused_without_running_it(tmp_path):
    for name, content in {"a.ckpt": {"encoder._x": Harmful()}, "b.pth": {"x": Harmful()}}.items():
        torch.save(content, tmp_path / name)
        with pytest.raises(BadRequest, match=f"{name}: not a torch file of plain tensors"):
            describe(tmp_path / name)
    (tmp_path / "c.pth").write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(BadRequest, match="not a torch file of plain tensors"):
        describe(tmp_path / "c.pth")


def test_what_is_not_known_is_refused(tmp_path):
    save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(BadRequest, match=r"1 tensors, of no network known here"):
        describe(tmp_path / "x.safetensors")
    with pytest.raises(BadRequest, match="no such file"):
        describe(tmp_path / "nowhere.ckpt")
