from dataclasses import replace

import open_clip
import pytest
import torch

from configs.errors import BadRequest
from model.metacan.checkpoint import CHECKPOINT
from model.metacan.network import MetaCAN
from model.metacan.recipe import PAPER, outer_step
from model.metacan.text import ABNORMAL_STATES, NORMAL_STATES, prompts
from tests.model.clip_file import SMALL, save_clip, small_clip
from tests.model.metacan.tiny import ARGUMENTS, features, save, task, tiny


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip") / "clip.pt")


@pytest.fixture(scope="module")
def trained(clip):
    torch.manual_seed(0)
    network = MetaCAN.from_clip(clip, **ARGUMENTS)
    outer_step(network, [task(0)], torch.optim.Adam(network.detector.parameters()), PAPER)
    return network.eval()


def test_a_checkpoint_comes_back_with_its_clip_file(tmp_path, trained, clip):
    path = save(tmp_path / "best.ckpt", trained)
    network = MetaCAN.from_checkpoint(path, clip)
    assert not any(module.training for module in network.modules())
    assert network.arguments == trained.arguments
    images = torch.rand(4, 3, 60, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(images[:2], images).score, trained(images[:2], images).score)


def test_a_checkpoint_holds_what_learned_and_the_text_but_no_tower(tmp_path, trained, clip):
    content = torch.load(save(tmp_path / "best.ckpt", trained), weights_only=True)
    assert content["state_dict"].keys() == {f"network.{key}" for key in trained.state_dict()}
    assert not any("tower" in key for key in content["state_dict"])
    assert len(content["state_dict"]) == 19
    assert content[CHECKPOINT]["network"]["clip_sha256"] == trained.arguments["clip_sha256"]


def test_from_clip_embeds_the_paper_s_prompts(trained):
    for row, states in zip(trained.detector.text, (NORMAL_STATES, ABNORMAL_STATES), strict=True):
        rows = small_clip().encode_text(open_clip.tokenize(prompts(states))).detach()
        mean = (rows / rows.norm(dim=1, keepdim=True)).mean(dim=0)
        torch.testing.assert_close(row, mean / mean.norm())


def test_a_missing_or_another_clip_file_is_told_with_where_it_is(tmp_path, trained):
    path = save(tmp_path / "best.ckpt", trained)
    with pytest.raises(BadRequest, match=r"best.ckpt: no CLIP weights \(clip = None\); download vit_b_16.* from https"):
        MetaCAN.from_checkpoint(path)
    other = save_clip(tmp_path / "other.pt", seed=1)
    with pytest.raises(
        BadRequest,
        match=r"other.pt: of sha256 \w{64}, but .*best.ckpt was trained with .* \w{64}; download .*http",
    ):
        MetaCAN.from_checkpoint(path, other)


def test_a_network_on_a_random_tower_cannot_come_back(tmp_path, clip):
    with pytest.raises(BadRequest, match=r"was trained with CLIP weights of sha256 \(none: random ones\)"):
        MetaCAN.from_checkpoint(save(tmp_path / "best.ckpt", tiny()), clip)


def test_without_a_detector_a_checkpoint_holds_nothing_but_its_settings(tmp_path, clip):
    network = MetaCAN.from_clip(clip, **ARGUMENTS, terms=("low", "high"))
    read = MetaCAN.from_checkpoint(save(tmp_path / "floor.ckpt", network), clip)
    assert not read.state_dict()
    assert read.terms == ["low", "high"]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_names_are_loaded_strictly(prefix):
    network = tiny().eval()
    state = {prefix + key: value + 1 for key, value in tiny(seed=1).published_tensors().items()}
    text = network.detector.text.clone()
    network.load_published(state)
    for key, value in network.published_tensors().items():
        assert torch.equal(value, state[prefix + key])
    assert torch.equal(network.detector.text, text)
    assert network.compare(features(0, 2), features(1, 3)).score.isfinite().all()
    for change, said in (
        ({"diff_head.bn1.bias": None}, r"1 missing \(diff_head\.bn1\.bias\)"),
        ({"extra": torch.ones(1)}, r"1 unexpected \(extra\)"),
        ({"diff_head.projection3.bias": torch.ones(2)}, r"1 of another shape \(diff_head\.projection3\.bias\)"),
    ):
        changed = {key.removeprefix(prefix): value for key, value in state.items()} | change
        with pytest.raises(BadRequest, match=f"keys do not fit the published MetaCAN: {said}"):
            network.load_published({key: value for key, value in changed.items() if value is not None})


def test_the_released_checkpoint_gets_tower_and_text_from_the_clip_file(tmp_path, monkeypatch):
    deep = replace(SMALL, blocks=12, text_blocks=1)
    for module in ("model.metacan.network", "model.encoders.clip"):
        monkeypatch.setattr(f"{module}.ClipSizes", lambda: deep)
    clip = save_clip(tmp_path / "clip.pt", sizes=deep)
    wanted = MetaCAN.from_clip(clip)
    torch.save(wanted.published_tensors(), tmp_path / "released.pyth")
    network = MetaCAN.from_checkpoint(tmp_path / "released.pyth", clip)
    assert not network.training
    assert all(torch.equal(value, wanted.state_dict()[key]) for key, value in network.state_dict().items())
    with pytest.raises(BadRequest, match=r"MetaCAN: no CLIP weights \(clip = None\); download vit_b_16"):
        MetaCAN.from_checkpoint(tmp_path / "released.pyth")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, clip):
    with pytest.raises(BadRequest, match="no such checkpoint"):
        MetaCAN.from_checkpoint(tmp_path / "nowhere.ckpt", clip)
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.ckpt")
    with pytest.raises(BadRequest, match=r"neither a MetaCAN checkpoint of version 1 .* \(found none\) nor a released"):
        MetaCAN.from_checkpoint(tmp_path / "other.ckpt", clip)
    torch.save({CHECKPOINT: {"version": 99}}, tmp_path / "later.ckpt")
    with pytest.raises(BadRequest, match=r"found 99"):
        MetaCAN.from_checkpoint(tmp_path / "later.ckpt", clip)


def test_a_checkpoint_with_other_tensors_is_refused(tmp_path, trained, clip):
    path = save(tmp_path / "cut.ckpt", trained)
    content = torch.load(path, weights_only=True)
    del content["state_dict"]["network.detector.text"]
    torch.save(content, path)
    with pytest.raises(BadRequest, match=r"cut.ckpt: keys do not fit MetaCAN: 1 missing \(detector\.text\)"):
        MetaCAN.from_checkpoint(path, clip)
