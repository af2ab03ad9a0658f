import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model.fast.fast_form import DoubledConvolution, InPlaceSCSE, for_inference
from model.fast.folding import with_fast_encoder
from model.metauas.decoder import SCSE
from model.metauas.network import MetaUAS
from tests.model.lively import lively

TINY = {"encoder": "test_resnet", "decoder_channels": (16, 16, 8, 8, 8)}


def pair(side_px=64, count=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(count, 3, side_px, side_px, generator=generator) for _ in range(2)]


@pytest.mark.parametrize(
    "switch",
    [
        {},
        {"decoder_channels": (16, 16, 8, 8)},
        {"decoder": "fpn-cat", "alignment": "hard"},
        {"encoder": "tf_efficientnet_b0"},
        {"encoder": "efficientvit_b0"},
        {"encoder": "mobilenetv2_100", "similarity": "cosine", "levels": 4},
    ],
)
def test_the_fast_form_is_the_same_network(switch):
    torch.manual_seed(0)
    network = lively(MetaUAS(**TINY | switch))
    fast = for_inference(copy.deepcopy(network))
    prompt, query = pair()
    with torch.inference_mode():
        expected, found = network(prompt, query), fast(prompt, query)
        wide = fast(prompt[..., :32], query[..., :32])  # any size, not only the probe's
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(found.sigmoid(), expected.sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(wide, network(prompt[..., :32], query[..., :32]), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "tf_efficientnet_b0", "efficientvit_b0", "test_resnet"])
def test_the_fast_form_of_a_frozen_encoder_gives_its_features_and_leaves_it_as_it_is(name):
    torch.manual_seed(0)
    network = lively(MetaUAS(**TINY | {"encoder": name}))
    before = {key: value.clone() for key, value in network.encoder.state_dict().items()}
    whole = with_fast_encoder(network)
    fast = whole.encoder
    left = {name for name, module in fast.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert left <= {"net.bn2"}  # of EfficientNet's head, that does not run
    for images in pair():
        for found, expected in zip(fast(images), network.encoder(images), strict=True):
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    assert before.keys() == network.encoder.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in network.encoder.state_dict().items())
    assert whole.decoder is network.decoder
    assert whole.alignment is network.alignment


@settings(max_examples=15)
@given(rows=st.integers(1, 8), height=st.integers(1, 3))
def test_strips_change_nothing(rows, height):
    torch.manual_seed(0)
    network = lively(MetaUAS(**TINY))
    fast = for_inference(copy.deepcopy(network))
    prompt, query = torch.rand(2, 2, 3, 32 * height, 64)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.fast.fast_form.STRIP_PX", rows * 2 * 32)
        patch.setattr("model.metauas.network.ENCODED_TOGETHER_PX", 0)
        torch.testing.assert_close(fast(prompt, query), network(prompt, query), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_the_fast_form_can_be_copied_and_sent_to_a_process(again):
    fast = for_inference(lively(MetaUAS(**TINY)))
    with torch.inference_mode():
        torch.testing.assert_close(again(fast)(*pair()), fast(*pair()), atol=0, rtol=0)


def test_not_a_number_stays_one_in_the_fast_form():
    network = lively(MetaUAS(**TINY))
    network.decoder.blocks[0].conv1[0].weight.data.fill_(torch.nan)
    with torch.inference_mode():
        assert for_inference(network)(*pair()).isnan().all()


def test_no_normalisation_is_left_and_nothing_learns():
    fast = for_inference(MetaUAS(**TINY).eval())
    ran = {name for name, module in fast.named_modules() if isinstance(module, nn.BatchNorm2d)}
    assert ran == set()
    assert not any(parameter.requires_grad for parameter in fast.parameters())


def test_a_normalisation_that_follows_no_convolution_stays():
    torch.manual_seed(0)
    network = MetaUAS(**TINY | {"decoder_channels": (16, 16, 8, 8)})
    network.mask_head = nn.Sequential(nn.BatchNorm2d(8), network.mask_head)  # after a ReLU
    network = lively(network)
    fast = for_inference(copy.deepcopy(network))
    assert isinstance(fast.mask_head[0], nn.BatchNorm2d)
    torch.testing.assert_close(fast(*pair()), network(*pair()), atol=2e-4, rtol=1e-4)


@given(height=st.integers(1, 6), width=st.integers(1, 6), batch=st.integers(1, 2), bias=st.booleans())
def test_convolving_before_doubling_is_convolving_after(height, width, batch, bias):
    torch.manual_seed(0)
    convolve = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, bias=bias), nn.ReLU())
    x = torch.randn(batch, 3, height, width)
    expected = convolve(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(DoubledConvolution(convolve)(x), expected, atol=1e-5, rtol=1e-5)


@given(height=st.integers(1, 9), values=st.integers(1, 400))
def test_gates_in_strips_and_in_place_change_nothing(height, values):
    torch.manual_seed(0)
    scse, x = SCSE(16), torch.randn(2, 16, height, 5)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.fast.fast_form.GATE_VALUES", values)
        expected = scse(x)
        torch.testing.assert_close(InPlaceSCSE(scse)(x), expected)
