import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from model import winograd
from model.packed import Packed
from model.packing import can_pack, pack
from model.winograd import Winograd

pytestmark = pytest.mark.skipif(not can_pack(), reason="oneDNN is not there, or this is no x86 processor")


def convolution_and_maps(channels, out, size, *, bias=True):
    torch.manual_seed(0)
    convolution = nn.Conv2d(channels, out, 3, padding=1, bias=bias).eval()
    return convolution, torch.randn(size[0], channels, *size[1:]).contiguous(memory_format=torch.channels_last)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.sampled_from([128, 131]),
    out=st.sampled_from([128, 144]),
    size=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    bias=st.booleans(),
    relu=st.booleans(),
)
def test_it_is_the_convolution_at_any_size(channels, out, size, bias, relu):
    convolution, maps = convolution_and_maps(channels, out, size, bias=bias)
    made = Winograd(convolution, [1, channels, 8, 8], relu=relu)

    with torch.inference_mode():
        found, expected = made(maps), convolution(maps)

    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected.relu() if relu else expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("strip_values", [1, 2**18, 2**30])
def test_strips_meet_without_a_seam(strip_values, monkeypatch):
    monkeypatch.setattr(winograd, "STRIP_VALUES", strip_values)
    convolution, maps = convolution_and_maps(128, 128, (1, 50, 34))

    with torch.inference_mode():
        found, expected = Winograd(convolution, [1, 128, 50, 34], relu=False)(maps), convolution(maps)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("convolution", "kind"),
    [
        (nn.Conv2d(128, 128, 3, padding=1), Winograd),
        (nn.Conv2d(128, 128, 3), Packed),
        (nn.Conv2d(128, 128, 3, padding=1, stride=2), Packed),
        (nn.Conv2d(128, 128, 3, padding=2, dilation=2), Packed),
        (nn.Conv2d(128, 128, 3, padding=1, groups=2), Packed),
        (nn.Conv2d(128, 64, 3, padding=1), Packed),
        (nn.Conv2d(128, 128, 5, padding=1), Packed),
    ],
)
def test_wide_plain_ones_are_computed_so_and_no_others(convolution, kind):
    network = nn.Sequential(convolution).eval()
    pack(network, [torch.zeros(2, 128, 12, 12)])
    assert isinstance(network[0], kind)
