import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.onenip.reconstruction import Reconstruction, neck

CHANNELS, GRID = 24, (4, 6)


def reconstruction(**changed):
    torch.manual_seed(0)
    switches = {
        "prompt": "dynamic",
        "decoder": "v2",
        "encoder_layers": 2,
        "decoder_layers": 2,
        "refiner": True,
        "dropout": 0.1,
    }
    return Reconstruction(CHANNELS, *GRID, **switches | changed).eval()


def features(count, seed=0):
    return torch.randn(count, CHANNELS, *GRID, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prompt", ["dynamic", "static", "none"])
@given(order=st.permutations(range(3)))
def test_an_image_s_reconstruction_does_not_depend_on_its_batch(prompt, order):
    network = reconstruction(prompt=prompt)
    query, normal = features(3), None if prompt == "none" else features(3, seed=1)
    with torch.inference_mode():
        together = network(query, normal)
        turned = network(query[list(order)], None if normal is None else normal[list(order)])
        alone = [network(query[i : i + 1], None if normal is None else normal[i : i + 1]) for i in order]
    torch.testing.assert_close(turned, together[list(order)], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(torch.cat(alone), together[list(order)], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("prompt", ["dynamic", "static"])
def test_prompts_serve_the_normal_half_of_a_batch_and_then_the_other(prompt):
    network = reconstruction(prompt=prompt)
    normal, synthetic, prompts = features(2), features(2, seed=1), features(2, seed=2)
    with torch.inference_mode():
        both = network(torch.cat([normal, synthetic]), prompts)
        apart = torch.cat([network(normal, prompts), network(synthetic, prompts)])
    torch.testing.assert_close(both, apart, atol=1e-5, rtol=1e-4)


def test_it_starts_as_released():
    network = reconstruction(encoder_layers=3, decoder_layers=3)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
    encoder, decoder = (network.transformer[side].layers for side in ("encoder", "decoder"))
    for layers, attention in (
        (encoder, "self_attn"),
        (decoder, "cross_attn_prompt_to_image"),
        (decoder, "cross_attn_image_to_prompt"),
    ):
        first, *others = [getattr(layer, attention) for layer in layers]
        assert all(torch.equal(first.in_proj_weight, other.in_proj_weight) for other in others)
        assert not any(torch.equal(first.out_proj.weight, other.out_proj.weight) for other in others)
    bound = (6 / (CHANNELS + 256)) ** 0.5  # of Glorot and Bengio's uniform draw
    assert network.input_proj.weight.abs().max().item() == pytest.approx(bound, rel=0.01)


def test_the_refiner_gives_four_times_the_tokens_resolution():
    assert reconstruction().seghead(features(2)).shape == (2, 1, 16, 24)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5))
def test_the_neck_puts_corners_on_corners_and_keeps_ramps(level, down, right):
    def ramp(rows, columns):
        row, column = torch.linspace(0, 1, rows)[:, None], torch.linspace(0, 1, columns)
        return (level + down * row + right * column)[None, None]

    together = neck([ramp(32, 48), ramp(16, 24), ramp(8, 12), ramp(4, 6)], GRID)
    torch.testing.assert_close(together, ramp(4, 6).expand(1, 4, -1, -1), atol=1e-4, rtol=1e-4)


def test_the_neck_has_the_shallow_levels_first_and_refuses_another_size():
    levels = [torch.full((1, i + 1, 2 ** (3 - i) * 4, 2 ** (3 - i) * 6), float(i)) for i in range(4)]
    assert neck(levels, GRID)[0, :, 0, 0].tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    with pytest.raises(BadRequest, match=r"deepest features are \(4, 6\); wanted \(4, 4\)"):
        neck(levels, (4, 4))
