import hashlib

import open_clip
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.encoders.clip import ARCHITECTURE, ClipSizes, build_image_tower, build_text_tower, normalised, read_clip
from model.encoders.visual_prior import read_visual_prior
from tests.model.clip_file import SMALL, save_clip, small_clip

IMAGES = torch.rand(2, 3, SMALL.image_px, SMALL.image_px, generator=torch.Generator().manual_seed(0))
TOKENS = open_clip.SimpleTokenizer()(["a photo of the object.", "a damaged object"])


def read(path):
    return read_clip(path, "MetaCAN", "clip")


def test_both_towers_of_a_whole_file_compute_what_open_clip_does(tmp_path):
    whole = small_clip()
    file = read(save_clip(tmp_path / "clip.pt"))
    with torch.no_grad():
        torch.testing.assert_close(file.image_tower(SMALL)(IMAGES), whole.encode_image(IMAGES))
        torch.testing.assert_close(file.text_tower(SMALL)(TOKENS), whole.encode_text(TOKENS))
    for tower in (file.image_tower(SMALL), file.text_tower(SMALL)):
        assert not any(parameter.requires_grad for parameter in tower.parameters())
        assert not any(module.training for module in tower.modules())
    assert file.sha256 == hashlib.sha256((tmp_path / "clip.pt").read_bytes()).hexdigest()


@pytest.mark.parametrize("prefix", ["", "visual.", "module.visual."])
@pytest.mark.parametrize("nested", [True, False])
def test_a_file_of_the_image_tower_alone_will_do_for_images(tmp_path, prefix, nested):
    own = small_clip().visual
    state = {prefix + key: value for key, value in own.state_dict().items()} | {"logit_scale": torch.ones(())}
    torch.save({"state_dict": state} if nested else state, tmp_path / "clip.pt")
    with torch.no_grad():
        assert torch.equal(read(tmp_path / "clip.pt").image_tower(SMALL)(IMAGES), own(IMAGES))
    with pytest.raises(BadRequest, match=r"holds no text tower.*pass all of CLIP"):
        read(tmp_path / "clip.pt").text_tower(SMALL)


def test_the_sizes_are_those_of_open_clip():
    config, sizes = open_clip.get_model_config(ARCHITECTURE), ClipSizes()
    with torch.device("meta"):
        towers = build_image_tower(sizes), build_text_tower(sizes)
        wanted = open_clip.model.CLIP(**config)
    shapes = {key: value.shape for key, value in wanted.visual.state_dict().items()}
    assert {key: value.shape for key, value in towers[0].state_dict().items()} == shapes
    for key, value in towers[1].state_dict().items():
        assert value.shape == wanted.state_dict()[key].shape, key
    assert towers[0].transformer.resblocks[0].attn.num_heads == wanted.visual.transformer.resblocks[0].attn.num_heads
    assert towers[1].transformer.resblocks[0].attn.num_heads == config["text_cfg"]["heads"]
    assert sizes.patches == 225


def test_the_image_tower_has_the_papers_parameters():
    with torch.device("meta"):
        real = build_image_tower(ClipSizes())
    count = sum(parameter.numel() for parameter in real.parameters())
    assert round((count + 22_130_305) / 1e6, 1) == 139.3  # MetaUAS, Table 2: MetaUAS*+


def test_images_are_normalised_as_clip_s_were():
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    expected = (IMAGES.permute(0, 2, 3, 1) - mean) / std
    torch.testing.assert_close(normalised(IMAGES).permute(0, 2, 3, 1), expected)


def test_weights_of_another_model_are_a_wrong_request(tmp_path):
    torch.save({"proj": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(BadRequest, match=r"other\.pt: not weights of ViT-B-16-plus-240: .* is missing or of another"):
        read_visual_prior(str(tmp_path / "other.pt"))


def test_missing_weights_say_who_wants_them_and_where_they_are():
    with pytest.raises(
        BadRequest,
        match=r"best\+clip: no CLIP weights \(evaluate.clip_weights = nowhere.pt\); download vit_b_16.* from https://",
    ):
        read_visual_prior("nowhere.pt")
    with pytest.raises(BadRequest, match=r"MetaCAN: no CLIP weights \(clip = None\); download vit_b_16"):
        read(None)


def test_a_missing_package_says_which_extra_has_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(Failure, match=r"open_clip cannot be imported .*pip install 'metauas-pipeline\[clip\]'"):
        read_visual_prior("x.pt")
    with pytest.raises(Failure, match=r"CLIP: open_clip cannot be imported"):
        build_image_tower(SMALL)
