import pytest
import torch
from torch.func import functional_call

from configs.errors import BadRequest
from model.alignment import FUSE
from model.metauas import START_SHARE, MetaUAS

TINY = {"encoder": "test_resnet", "decoder_channels": (16, 16, 8, 8), "freeze_encoder": False}


def pair(side_px=64, count=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 3, side_px, side_px, generator=generator) for _ in range(2)]


def test_an_untrained_network_believes_that_changes_are_rare():
    torch.manual_seed(0)
    network = MetaUAS(**TINY).eval()
    with torch.no_grad():
        belief = network(*pair()).sigmoid().mean().item()
    assert belief == pytest.approx(START_SHARE, abs=0.03)


def test_the_default_network_has_the_paper_s_parameters():
    network = MetaUAS()
    assert sum(p.numel() for p in network.parameters()) == 22_130_305
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 4_581_689


@pytest.mark.parametrize("fusion", FUSE)
@pytest.mark.parametrize("levels", [3, 4])
@pytest.mark.parametrize("alignment", ["soft", "hard", "none"])
def test_every_ablation_gives_logits_at_the_input_s_size(fusion, levels, alignment):
    network = MetaUAS(**TINY, fusion=fusion, levels=levels, alignment=alignment)
    prompt, query = pair()
    logits = network(prompt[:, :, :32], query[:, :, :32])
    assert logits.shape == (2, 1, 32, 64)
    assert logits.dtype == torch.float32


def test_gradients_reach_everything_that_learns():
    network = MetaUAS(**TINY, similarity="cosine")
    network(*pair()).sum().backward()
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_gradients_stop_at_a_frozen_encoder():
    network = MetaUAS(**TINY | {"freeze_encoder": True})
    network.train()(*pair()).sum().backward()
    with_gradient = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient == {"alignment", "decoder", "mask_head"}
    assert not network.encoder.net.training


def test_one_encoded_prompt_serves_many_queries():
    network = MetaUAS(**TINY).eval()
    prompt, query = pair()
    with torch.inference_mode():
        alone = network.compare(network.encode(prompt[:1]), network.encode(query))
        torch.testing.assert_close(alone, network(prompt[:1].expand(2, -1, -1, -1), query), atol=1e-5, rtol=1e-4)


def test_the_prompt_is_not_the_query():
    torch.manual_seed(0)
    network = MetaUAS(**TINY).eval()
    prompt, query = pair()
    with torch.inference_mode():
        assert not torch.allclose(network(prompt, query), network(query, prompt))


def test_the_network_can_be_called_with_other_weights_than_its_own():
    network = MetaUAS(**TINY).eval()
    zeros = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    assert not functional_call(network, zeros, tuple(pair())).any()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"alignment": "warp"}, "alignment is 'warp'; wanted soft, hard, none"),
        ({"similarity": "l2"}, "similarity is 'l2'; wanted dot, scaled, cosine"),
        ({"levels": 2}, "levels is 2; wanted 3, 4"),
        ({"fusion": "mean"}, "fusion is 'mean'; wanted concat"),
        ({"decoder": "fpn"}, "decoder is 'fpn'; wanted unet"),
        ({"decoder_channels": (8, 8)}, "number of decoder_channels is 2; wanted 4, 5"),
    ],
)
def test_a_wrong_argument_says_what_was_wanted(wrong, said):
    with pytest.raises(BadRequest, match=said):
        MetaUAS(**TINY | wrong)


def test_wrong_images_are_refused():
    network = MetaUAS(**TINY)
    prompt, query = pair()
    with pytest.raises(BadRequest, match="multiples of 32"):
        network(prompt[..., :50], query[..., :50])
    with pytest.raises(BadRequest, match="make them of one size"):
        network(prompt[:1], query)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="no such checkpoint"):
        MetaUAS.from_checkpoint(tmp_path / "nowhere.ckpt")
    torch.save({"weights": torch.ones(1)}, tmp_path / "other.ckpt")
    with pytest.raises(BadRequest, match=r"neither a checkpoint of version 1 of this project .* nor a published one"):
        MetaUAS.from_checkpoint(tmp_path / "other.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadRequest, match="not a torch file of plain tensors"):
        MetaUAS.from_checkpoint(tmp_path / "cut.ckpt")
