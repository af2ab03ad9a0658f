import math

import pytest
import torch
from torch.func import functional_call

from configs.errors import BadRequest
from model.metauas.alignment import FUSE, nearest_distance
from model.metauas.network import START_SHARE, WHITENED_AT_ONCE, MetaUAS

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


# Parameters, all and learned. The paper states 22.1 M and 4.6 M of its own network (Table 2) and none of its ablations;
# 17.5 M of the encoder alone stand beside PatchCore there.
SIZES = {
    "paper": ({}, 22_130_305, 4_581_689),
    "alignment hard": ({"alignment": "hard"}, 22_130_305, 4_466_637),
    "alignment none": ({"alignment": "none"}, 22_015_253, 4_466_637),
    "fusion add": ({"fusion": "add"}, 20_519_895, 2_971_279),
    "fusion absdiff": ({"fusion": "absdiff"}, 20_519_895, 2_971_279),
    "encoder learned": ({"freeze_encoder": False}, 22_130_305, 21_323_905),
    "encoder b6": ({"encoder": "tf_efficientnet_b6"}, 46_331_860, 5_596_156),
    "encoder efficientvit_b3": ({"encoder": "efficientvit_b3"}, 44_676_843, 5_679_403),
    "encoder mobilenetv2": ({"encoder": "mobilenetv2_100"}, 5_267_183, 3_455_471),
    "decoder fpn-add": ({"decoder": "fpn-add"}, 22_145_461, 4_596_845),
    "decoder fpn-cat": ({"decoder": "fpn-cat"}, 22_146_229, 4_597_613),
    "similarity scaled": ({"similarity": "scaled"}, 22_130_305, 4_581_689),
    "similarity cosine": ({"similarity": "cosine"}, 22_130_308, 4_581_692),
    "levels 4": ({"levels": 4}, 22_150_739, 4_602_123),
    "fusion concat+absdiff": ({"fusion": "concat+absdiff"}, 23_833_178, 6_284_562),
}


def test_the_default_network_has_the_sizes_that_the_paper_states():
    millions = [round(count / 1e6, 1) for count in SIZES["paper"][1:]]
    assert millions == [22.1, 4.6]


@pytest.mark.parametrize(("switch", "every", "learned"), SIZES.values(), ids=SIZES)
def test_each_switch_costs_what_is_known(switch, every, learned):
    with torch.device("meta"):  # nothing is allocated
        network = MetaUAS(**switch)
    assert sum(p.numel() for p in network.parameters()) == every
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == learned


@pytest.mark.parametrize("decoder", ["unet", "fpn-add", "fpn-cat"])
@pytest.mark.parametrize("encoder", ["efficientvit_b0", "tf_efficientnet_b0", "mobilenetv2_100", "resnet18"])
def test_every_kind_of_encoder_fits_every_decoder(encoder, decoder):
    network = MetaUAS(encoder, decoder=decoder, decoder_channels=(16, 8, 8, 8)).eval()
    prompt, query = pair()
    assert network(prompt, query).shape == (2, 1, 64, 64)


@pytest.mark.parametrize("fusion", FUSE)
@pytest.mark.parametrize("levels", [3, 4])
@pytest.mark.parametrize("alignment", ["soft", "hard", "none"])
def test_every_ablation_gives_logits_at_the_input_s_size(fusion, levels, alignment):
    network = MetaUAS(**TINY, fusion=fusion, levels=levels, alignment=alignment)
    prompt, query = pair()
    logits = network(prompt[:, :, :32], query[:, :, :32])
    assert logits.shape == (2, 1, 32, 64)
    assert logits.dtype == torch.float32


@pytest.mark.parametrize(
    "switch",
    [
        {"similarity": "cosine"},
        {"alignment": "hard"},
        {"alignment": "none"},
        {"decoder": "fpn-cat"},
        {"encoder": "tf_efficientnet_b0"},
        {"encoder": "efficientvit_b0"},
    ],
)
def test_gradients_reach_exactly_what_learns(switch):
    network = MetaUAS(**TINY | switch)
    network(*pair()).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name


def test_gradients_stop_at_a_frozen_encoder():
    network = MetaUAS(**TINY | {"freeze_encoder": True})
    network.train()(*pair()).sum().backward()
    with_gradient = {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert with_gradient == {"alignment", "decoder", "mask_head"}
    assert not any(module.training for module in network.encoder.modules())


@pytest.mark.parametrize("side_px", [32, 64])
def test_a_jittered_copy_of_a_picture_matches_itself(side_px):
    torch.manual_seed(0)
    network = MetaUAS(**TINY, similarity="cosine", levels=4).eval()
    prompt, other = pair(side_px)
    query = (1.05 * prompt + 0.02).clamp(0, 1)
    with torch.inference_mode():
        prompt, query, other = network.encode(prompt), network.encode(query), network.encode(other)
        to_itself, to_another = (network.attention_statistics(side, query) for side in (prompt, other))
    assert list(to_itself) == [5, 4, 3, 2]
    for level, (entropy, same) in to_itself.items():
        tokens = (side_px >> level) ** 2
        assert 0 <= entropy <= math.log(tokens) + 1e-5
        assert same == 1
        assert tokens == 1 or to_another[level][1] < 0.5


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
        ({"decoder": "fpn"}, "decoder is 'fpn'; wanted unet, fpn-add, fpn-cat"),
        ({"decoder_channels": (8, 8)}, "number of decoder_channels is 2; wanted 4, 5"),
    ],
)
def test_a_wrong_argument_says_what_was_wanted(wrong, said):
    with pytest.raises(BadRequest, match=said):
        MetaUAS(**TINY | wrong)


def test_without_alignment_there_is_no_attention_to_report():
    network = MetaUAS(**TINY, alignment="none").eval()
    prompt, query = map(network.encode, pair())
    assert network.attention_statistics(prompt, query) == {}


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


def test_whitening_encodes_a_few_images_at_a_time_to_the_same_effect(monkeypatch):
    images, _ = pair(count=2 * WHITENED_AT_ONCE + 3)
    encoded = []
    encode = MetaUAS.encode
    monkeypatch.setattr(MetaUAS, "encode", lambda self, some: encoded.append(len(some)) or encode(self, some))
    alignments = []
    for at_once in (WHITENED_AT_ONCE, len(images)):
        monkeypatch.setattr("model.metauas.network.WHITENED_AT_ONCE", at_once)
        torch.manual_seed(0)
        network = MetaUAS(**TINY | {"similarity": "dot"})
        network.whiten_alignment(images)
        alignments.append(network.alignment.state_dict())
    assert encoded == [WHITENED_AT_ONCE, WHITENED_AT_ONCE, 3, len(images)]
    torch.testing.assert_close(*alignments, atol=1e-4, rtol=1e-3)


def test_whitening_starts_every_level_and_leaves_the_encoder_as_it_was():
    torch.manual_seed(0)
    network = MetaUAS(**TINY | {"freeze_encoder": False, "similarity": "dot"}).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.whiten_alignment(torch.rand(2, 3, 128, 128))
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {
        f"alignment.{i}.project.{leaf}" for i in range(len(network.alignment)) for leaf in ("weight", "bias")
    }
    assert network.training
    with pytest.raises(BadRequest, match="wanted 'soft'"):
        MetaUAS(**TINY | {"alignment": "none"}).whiten_alignment(torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize("fusion", FUSE)
def test_distances_add_a_channel_a_level_and_nothing_else(fusion):
    torch.manual_seed(0)
    with_them = MetaUAS("test_resnet", decoder_channels=(8, 8, 8, 8), fusion=fusion, distances=True).eval()
    prompt, query = (with_them.encode(torch.rand(2, 3, 64, 96)) for _ in range(2))
    aligned = with_them.align(prompt, query)
    assert [level.shape[1] for level in aligned] == [channels + 1 for channels in with_them.encoder.channels[2:]]
    assert with_them.decode(query, aligned).shape == (2, 1, 64, 96)
    for level, p, q in zip(aligned, prompt[2:], query[2:], strict=True):
        assert torch.equal(level[:, -1:], nearest_distance(p, q))
    one = with_them.compare([level[:1] for level in prompt], query)
    assert one.shape == (2, 1, 64, 96)  # a prompt for all
    blind = [torch.cat([level[:, :-1], 0 * level[:, -1:]], dim=1) for level in aligned]
    assert not torch.equal(with_them.decode(query, blind), with_them.decode(query, aligned))
