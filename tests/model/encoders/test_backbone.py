import pytest
import timm
import torch
from safetensors.torch import save_file

from configs.errors import BadRequest, Failure
from model.encoders.backbone import Encoder, Preprocessing

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
MOBILENET = "data/weights/mobilenetv2_100.imagenet_same.safetensors"


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "mobilenetv2_100", "test_resnet"])
def test_features_have_the_stated_channels_and_strides(name):
    encoder = Encoder(name, "none", frozen=True)
    shapes = [tuple(level.shape) for level in encoder(IMAGES)]
    assert shapes == [(2, c, 64 // 2**i, 64 // 2**i) for i, c in enumerate(encoder.channels, start=1)]


def test_efficientnet_b4_is_tapped_at_its_stem_and_keeps_its_head():
    encoder = Encoder("tf_efficientnet_b4", "none", frozen=True)
    assert encoder.channels == (48, 32, 56, 160, 448)
    assert sum(p.numel() for p in encoder.parameters()) == 17_548_616


@pytest.mark.parametrize(
    "name", ["tf_efficientnet_b4", "mobilenetv2_100", "mobilenetv3_small_100", "efficientvit_b0", "resnet18"]
)
def test_fewer_levels_are_the_first_of_all_and_what_lies_deeper_is_dropped(name):
    whole = Encoder(name, "none", frozen=True, stem=False)
    first = Encoder(name, "none", frozen=True, stem=False, levels=4)
    first.load_state_dict({key: whole.state_dict()[key] for key in first.state_dict()})
    assert first.channels == whole.channels[:4]
    for level, wanted in zip(first(IMAGES), whole(IMAGES)[:4], strict=True):
        torch.testing.assert_close(level, wanted)
    assert sum(p.numel() for p in first.parameters()) < 0.7 * sum(p.numel() for p in whole.parameters())


def test_efficientnet_b4_is_tapped_after_its_first_stage_without_its_stem():
    assert Encoder("tf_efficientnet_b4", "none", frozen=True, stem=False, levels=4).channels == (24, 32, 56, 160)


def test_weights_of_the_whole_model_fit_its_first_levels(tmp_path):
    whole = timm.create_model("test_efficientnet")
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    encoder = Encoder("test_efficientnet", str(tmp_path / "whole.pth"), frozen=True, levels=4, stem=False)
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in encoder.net.state_dict().items())


def test_images_are_normalised_by_the_model_s_own_mean_and_std():
    encoder = Encoder("test_resnet", "none", frozen=True)
    plain = timm.create_model("test_resnet", features_only=True).eval()
    plain.load_state_dict(encoder.net.state_dict())
    mean, std = (torch.tensor(plain.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        expected = plain((IMAGES - mean) / std)
    for level, wanted in zip(encoder(IMAGES), expected, strict=True):
        torch.testing.assert_close(level, wanted)


def test_a_frozen_encoder_never_moves():
    encoder = Encoder("test_resnet", "none", frozen=True).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    features = encoder(IMAGES)
    assert not any(module.training for module in encoder.modules())
    assert not any(level.requires_grad for level in features)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_a_learnable_encoder_follows_train_and_gets_gradients():
    encoder = Encoder("test_resnet", "none", frozen=False).train()
    assert encoder.net.training
    encoder(IMAGES)[-1].sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_weights_of_the_whole_model_load_and_their_classifier_is_left_out(tmp_path):
    whole = timm.create_model("test_resnet")
    path = tmp_path / "whole.pth"
    torch.save({"state_dict": whole.state_dict()}, path)
    encoder = Encoder("test_resnet", str(path), frozen=True)
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in encoder.net.state_dict().items())


def test_a_weights_file_may_state_its_preprocessing(tmp_path):
    state = timm.create_model("mobilenetv2_100").state_dict()
    said = {"architecture": "mobilenetv2_100", "mean": "0.5,0.4,0.3", "std": "0.2,0.2,0.1", "pad_type": "same"}
    path = tmp_path / "weights.safetensors"
    save_file(state, path, metadata=said)
    encoder = Encoder("mobilenetv2_100", str(path), frozen=True)
    assert encoder.preprocessing == Preprocessing((0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "same")
    assert type(encoder.net.conv_stem).__name__ == "Conv2dSame"
    with pytest.raises(BadRequest, match=r"weights of mobilenetv2_100, but model\.encoder = test_resnet"):
        Encoder("test_resnet", str(path), frozen=True)


@pytest.mark.parametrize(
    "said",
    [
        {"mean": "0.5,0.5", "std": "1,1,1"},
        {"mean": "a,b,c", "std": "1,1,1"},
        {"mean": "nan,0,0", "std": "1,1,1"},
        {"mean": "0,0,0", "std": "1,0,1"},
    ],
)
def test_a_preprocessing_that_is_no_three_numbers_is_refused(tmp_path, said):
    path = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path, metadata=said)
    with pytest.raises(BadRequest, match=r"weights\.safetensors: its metadata says mean .*; wanted three numbers each"):
        Encoder("test_resnet", str(path), frozen=True)


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    state["conv1.0.weight"][0, 0, 0, 0] = torch.inf
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(BadRequest, match=r"1 of \d+ tensors hold NaN or infinity, first conv1\.0\.weight \(1 of \d+ "):
        Encoder("test_resnet", str(tmp_path / "model.pth"), frozen=True)


def test_the_given_mobilenet_loads(shared):
    encoder = Encoder("mobilenetv2_100", str(shared / MOBILENET), frozen=True)
    assert encoder.channels == (16, 24, 32, 96, 320)
    assert encoder.preprocessing.pad_type == "same"


def test_weights_of_another_network_are_refused_by_their_keys(tmp_path):
    path = tmp_path / "other.pth"
    torch.save(timm.create_model("test_efficientnet").state_dict(), path)
    with pytest.raises(BadRequest, match=r"other\.pth: keys do not fit .* missing \(.*unexpected \("):
        Encoder("test_resnet", str(path), frozen=True)


def test_a_pickle_of_more_than_tensors_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save(timm.create_model("test_resnet"), path)
    with pytest.raises(BadRequest, match="not a torch file of plain tensors"):
        Encoder("test_resnet", str(path), frozen=True)


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("resnet999", "none", "resnet999: no such timm model; near it: resnet"),
        ("convnext_atto", "none", "features at strides 4, 8, 16, 32; wanted 2, 4, 8, 16, 32"),
        ("test_vit", "none", "features at strides 16, 16, 16; wanted .*; take a model with such a pyramid"),
        ("test_resnet", "nowhere.pth", r"model\.weights = nowhere\.pth: no such file"),
        ("tf_efficientnet_b4.nope", "none", "Invalid pretrained tag"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(name, weights, said):
    with pytest.raises(BadRequest, match=said):
        Encoder(name, weights, frozen=True)


def test_without_a_network_the_error_names_the_file_to_pass(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(Failure, match=r"https://huggingface\.co/timm/resnet18\S+ .* pass its path as model\.weights"):
        Encoder("resnet18", "imagenet", frozen=True)
