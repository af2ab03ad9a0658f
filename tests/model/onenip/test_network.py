import copy
import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.onenip.network import OneNIP
from model.onenip.reconstruction import neck
from tests.model.checkpoints import save_checkpoint

TINY = {"encoder": "test_resnet", "size": (64, 96), "encoder_layers": 1, "decoder_layers": 2}


def tiny(**changed):
    torch.manual_seed(0)
    return OneNIP(**TINY | changed).eval()


def images(count, seed=0, size=(64, 96)):
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def features(network, count, seed=0):
    return network.encode(images(count, seed, network.size))


def close(found, wanted):
    for name in ("reconstruction", "error", "refined"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=1e-4, rtol=1e-4)


def some_of(levels, places):
    return [level[places] for level in levels]


@pytest.mark.parametrize(
    ("size", "learned"), [(224, 8_372_625), (256, 8_373_137), (320, 8_374_161)]
)  # as counted in the released code
def test_as_many_parameters_learn_as_published(size, learned):
    with torch.device("meta"):  # nothing is allocated
        network = OneNIP(size=size)
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == learned
    assert network.encoder.channels == (24, 32, 56, 160)


def test_what_is_found_has_the_stated_shapes_and_ranges():
    network = tiny()
    levels = features(network, 2)
    found = network.compare(features(network, 2, seed=1), levels)
    assert [tuple(level.shape[2:]) for level in levels] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert found.reconstruction.shape == (2, sum(network.encoder.channels), 4, 6)
    assert found.error.shape == found.refined.shape == (2, 1, 64, 96)
    assert found.error.min() >= 0
    assert 0 <= found.refined.min() <= found.refined.max() <= 1


@pytest.mark.parametrize("encoder", ["tf_efficientnet_b0", "mobilenetv2_100", "resnet18", "efficientvit_b0"])
def test_other_encoders_fit(encoder):
    network = tiny(encoder=encoder, size=64)
    prompt, query = features(network, 1), features(network, 2)
    assert network.compare(prompt, query).reconstruction.shape == (2, sum(network.encoder.channels), 4, 4)


@settings(max_examples=6)  # all there are
@given(order=st.permutations(range(3)))
def test_a_query_is_judged_alike_alone_and_in_any_batch(order):
    network, order = tiny(), list(order)
    with torch.inference_mode():
        prompts, queries = features(network, 3, seed=1), features(network, 3)
        together = network.compare(prompts, queries)
        turned = network.compare(some_of(prompts, order), some_of(queries, order))
        alone = network.compare(some_of(prompts, order[:1]), some_of(queries, order[:1]))
    for name in ("reconstruction", "error", "refined"):
        torch.testing.assert_close(getattr(turned, name), getattr(together, name)[order], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(getattr(alone, name), getattr(together, name)[order[:1]], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prompt", ["dynamic", "static"])
def test_one_encoded_prompt_serves_many_queries(prompt):
    network = tiny(prompt=prompt)
    with torch.inference_mode():
        one, queries = features(network, 1, seed=1), features(network, 3)
        close(network.compare(one, queries), network.compare([level.expand(3, -1, -1, -1) for level in one], queries))
        other = network.compare(features(network, 1, seed=2), queries)
    assert not torch.allclose(other.error, network.compare(one, queries).error, atol=1e-3)


def test_without_a_prompt_none_is_needed_and_none_is_looked_at():
    network = tiny(prompt="none")
    with torch.inference_mode():
        queries = features(network, 2)
        close(network.compare(None, queries), network.compare(features(network, 2, seed=1), queries))


@pytest.mark.parametrize(("count", "said"), [(None, "no prompts for 3 images"), (2, "2 prompts for 3 images")])
def test_prompts_are_one_for_all_or_one_for_each(count, said):
    network = tiny()
    prompt = None if count is None else features(network, count)
    with pytest.raises(BadRequest, match=f"{said}; wanted one for all, or one for each"):
        network.compare(prompt, features(network, 3))


@pytest.mark.parametrize("shape", [(1, 3, 96, 64), (1, 3, 128, 128), (1, 1, 64, 96), (3, 64, 96)])
def test_images_of_another_size_are_refused_in_one_line(shape):
    with pytest.raises(BadRequest, match=r"wanted \(B, 3, 64, 96\), as positions are learned for one size"):
        tiny().encode(torch.rand(shape))


def damage(network, count=2):
    """Features of normal and damaged images and of prompts, and the masks of the damage."""
    mask = torch.zeros(count, 1, *network.size)
    mask[:, :, 20:40, 10:50] = 1
    normal, prompt = images(count), images(count, seed=1)
    synthetic = torch.where(mask.bool(), 1 - normal, normal)
    return *(network.encode(some) for some in (normal, synthetic, prompt)), mask


def still(network):
    """Without dropout, so that training mode repeats itself."""
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    return network


def noise(network, count=2, seed=0):
    return network.draw_noise([np.random.default_rng([seed, sample]) for sample in range(count)])


def test_the_losses_are_of_both_halves_together():
    network = tiny()
    network.reconstruction.seghead.predictor.weight.data *= 100  # or all maps are alike
    normal, synthetic, prompt, mask = damage(network)
    with torch.inference_mode():
        lost = network.losses(normal, synthetic, prompt, mask)
        apart = [network.compare(prompt, some) for some in (normal, synthetic)]
        clean = torch.cat(
            [torch.nn.functional.interpolate(x, (4, 6), mode="bilinear", align_corners=True) for x in normal], dim=1
        )
        target = sum((found.reconstruction - clean).square().mean() for found in apart) / 2
        truth = (torch.zeros_like(mask), mask)
        dices = [
            1 - ((p * m).sum((1, 2, 3)) + 1) / ((p * p + m * m).sum((1, 2, 3)) + 1)
            for p, m in zip((found.refined for found in apart), truth, strict=True)
        ]
    torch.testing.assert_close(lost.mse, target)
    torch.testing.assert_close(lost.dice, torch.cat(dices).mean())
    torch.testing.assert_close(lost.total, lost.mse + 0.5 * lost.dice)


def test_without_restoration_only_the_normal_half_counts_and_only_a_network_without_a_refiner_can():
    network = tiny(refiner=False)
    normal, synthetic, prompt, mask = damage(network)
    with torch.inference_mode():
        normal_only = network.losses(normal, None, prompt, None)
        both = network.losses(normal, synthetic, prompt, mask)
        itself = network.losses(normal, normal, prompt, None)
    assert normal_only.total == normal_only.mse != both.mse
    assert normal_only.dice == both.dice == 0
    torch.testing.assert_close(itself.mse, normal_only.mse)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [(1, "no synthetic images"), (3, "masks None"), ("shape", r"masks \[2, 1, 64, 95\]")],
)
def test_a_refiner_wants_synthetic_images_and_their_masks(left_out, said):
    network = tiny()
    given_ = list(damage(network))
    if left_out == "shape":
        given_[3] = given_[3][..., 1:]
    else:
        given_[left_out] = None
    with pytest.raises(
        BadRequest, match=rf"{said}; a refiner learns from synthetic images with masks \[2, 1, 64, 96\]"
    ):
        network.losses(*given_)


@pytest.mark.parametrize(
    "switch", [{}, {"decoder": "v1"}, {"prompt": "static"}, {"prompt": "none"}, {"prompt": "none", "refiner": False}]
)
def test_gradients_reach_all_that_learns_and_nothing_else(switch):
    network = tiny(**switch).train()
    case = damage(network)
    assert not any(level.requires_grad for levels in case[:3] for level in levels)
    network.losses(*case, noise(network)).total.backward()
    for name, parameter in network.named_parameters():
        # The second attention of "v1" is computed for nothing; the state dict has it all the same.
        idle = switch.get("decoder") == "v1" and "cross_attn_image_to_prompt" in name
        assert (parameter.grad is None) == (name.startswith("encoder.") or idle), name
    assert not any(module.training for module in network.encoder.modules())


def test_both_decoders_have_the_same_state_dict_and_find_other_maps():
    old, new = tiny(decoder="v1"), tiny()
    old.load_state_dict(new.state_dict())
    with torch.inference_mode():
        case = features(new, 1), features(new, 2, seed=1)
        assert not torch.allclose(old.compare(*case).error, new.compare(*case).error, atol=1e-3)


def test_jitter_does_nothing_in_evaluation_mode_and_in_training_is_the_noise_s_alone():
    network = still(tiny())
    case = damage(network)
    with torch.no_grad():
        assert network.losses(*case, noise(network)) == network.losses(*case)
        network.train()
        plain, jittered, again, other = (
            copy.deepcopy(network).losses(*case, some)
            for some in (None, noise(network), noise(network), noise(network, seed=1))
        )
    assert torch.equal(jittered.total, again.total)
    assert len({float(lost.total) for lost in (plain, jittered, other)}) == 3


def test_what_is_rebuilt_and_the_prompt_are_jittered_and_what_they_are_held_against_is_not():
    network = still(tiny()).train()
    case = damage(network)
    with torch.no_grad():
        plain = network.losses(*case).mse
        for place in range(3):  # normal, synthetic, prompt
            one = torch.zeros_like(noise(network))
            one[:, place] = noise(network)[:, place]
            assert abs(network.losses(*case, one).mse - plain) > 1e-4
        network.reconstruction.output_proj.weight.zero_()  # now all is rebuilt alike, however it is seen
        torch.testing.assert_close(network.losses(*case, noise(network)).total, network.losses(*case).total)


def test_training_lowers_the_loss_on_one_batch():
    network = tiny().train()
    case = damage(network)
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-3)
    lost = []
    for _ in range(8):
        optimizer.zero_grad()
        losses = network.losses(*case)
        losses.total.backward()
        optimizer.step()
        lost.append(losses.total.item())
    assert lost[-1] < 0.85 * lost[0]


def test_calibration_sets_the_scale_and_a_checkpoint_keeps_it(tmp_path):
    network = tiny(alpha=0.25, prompt="static", decoder_layers=1)
    with torch.no_grad():
        found = network.compare(features(network, 1), features(network, 2, seed=1))
    network.calibrate([found.error])
    scores = network.score_map(found)
    torch.testing.assert_close(network.normaliser, (found.error.max() + found.error.min()) / 2)
    torch.testing.assert_close(scores, 0.75 * found.error + 0.25 * network.normaliser * found.refined)
    assert network.image_scores(scores).shape == (2,)

    own = save_own(tmp_path / "best.ckpt", network)
    read = OneNIP.from_checkpoint(own)
    assert read.arguments == network.arguments
    assert read.size == (64, 96)
    assert not any(module.training for module in read.modules())
    with torch.no_grad():
        again = read.compare(features(read, 1), features(read, 2, seed=1))
    assert torch.equal(read.score_map(again), scores)


def save_own(path, network):
    return save_checkpoint(path, network, network.size, key="onenip")


def test_a_checkpoint_s_arguments_are_those_of_the_constructor():
    wanted = {*inspect.signature(OneNIP).parameters} - {"weights", "preprocessing"} | {"recipe"}
    assert tiny().arguments.keys() == wanted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("onenip"), r"neither a OneNIP of version 1 of this project \(found none\) nor a published"),
        (lambda c: c["onenip"].update(version=9), r"neither a OneNIP of version 1 of this project \(found 9\)"),
        (lambda c: c["onenip"].pop("network"), r"a damaged OneNIP checkpoint \(KeyError: 'network'\)"),
        (lambda c: c["onenip"]["network"].update(heads=4), r"unexpected keyword argument 'heads'"),
        (lambda c: c["onenip"]["network"].update(alpha=2), r"alpha 2, dropout 0.1; wanted"),
        (lambda c: c.pop("state_dict"), r"a damaged OneNIP checkpoint \(KeyError: 'state_dict'\)"),
        (lambda c: c["state_dict"].pop("network.normaliser"), r"do not fit OneNIP: 1 missing \(normaliser\)"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, change, said):
    path = save_own(tmp_path / "best.ckpt", tiny())
    content = torch.load(path)
    change(content)
    torch.save(content, path)
    with pytest.raises(BadRequest, match=rf"best\.ckpt: .*{said}"):
        OneNIP.from_checkpoint(path)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="no such checkpoint"):
        OneNIP.from_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 100}, "size is 100 x 100; wanted multiples of 16, 32 or more"),
        ({"size": (64, 16)}, "size is 64 x 16; wanted multiples of 16, 32 or more"),
        ({"prompt": "fixed"}, "prompt is 'fixed'; wanted none, static, dynamic"),
        ({"decoder": "v3"}, "decoder of prompt 'dynamic' is 'v3'; wanted v1, v2"),
        ({"prompt": "none", "decoder": "v1"}, "decoder of prompt 'none' is 'v1'; wanted v2"),
        ({"decoder_layers": 0}, r"1 \+ 0 layers, alpha 0.5, dropout 0.1; wanted 1 \+ 1 or more, 0 to 1 and below 1"),
        ({"alpha": 1.5}, r"1 \+ 2 layers, alpha 1.5, dropout"),
        ({"encoder": "convnext_atto"}, "features at strides 4, 8, 16, 32; wanted 2, 4, 8, 16; take a model"),
    ],
)
def test_a_wrong_argument_says_what_was_wanted(wrong, said):
    with pytest.raises(BadRequest, match=said):
        tiny(**wrong)


def test_a_refined_map_counts_only_after_calibration():
    network = tiny()
    found = network.compare(features(network, 1), features(network, 2))
    for of in (network.score_map, network.relative_map):
        with pytest.raises(BadRequest, match="no scale c; `calibrate` it on error maps of normal images"):
            of(found)
    network.calibrate([found.error])
    torch.testing.assert_close(2 * network.normaliser * network.relative_map(found), network.score_map(found))
    bare = tiny(alpha=0.0)
    assert torch.equal(bare.score_map(found), found.error)


def test_a_standardised_start_gives_the_transformer_standard_features_and_the_average_back():
    network, levels = tiny(), features(tiny(), 6)
    rows = neck(levels, network.grid).permute(0, 2, 3, 1).flatten(0, 2)
    mean, deviation = rows.mean(0), rows.std(0)
    deviation = deviation.clamp(min=0.01 * deviation.mean().item())  # some channels of a random encoder are silent
    before = copy.deepcopy(network.reconstruction)

    network.start_from(neck(levels, network.grid))

    after = network.reconstruction
    torch.testing.assert_close(
        after.input_proj(rows), before.input_proj((rows - mean) / deviation), atol=1e-3, rtol=1e-3
    )
    tokens = torch.randn(5, 256)
    torch.testing.assert_close(after.output_proj(tokens), before.output_proj(tokens) * deviation + mean)
