import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import Conv2dSame
from torch import nn

from model.packed import Packed, Product
from model.packing import can_pack, pack

pytestmark = pytest.mark.skipif(not can_pack(), reason="oneDNN is not there, or this is no x86 processor")


def packed(network, side_px=16):
    made = copy.deepcopy(network)
    pack(made, [torch.zeros(1, 3, side_px, side_px)])
    return made


@settings(max_examples=40)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 2),
    grouped=st.booleans(),
    bias=st.booleans(),
    side_px=st.integers(5, 20),
    batch=st.integers(1, 3),
    activation=st.sampled_from(
        [nn.ReLU(inplace=True), nn.ReLU6(inplace=True), nn.SiLU(inplace=True), nn.Sigmoid(), nn.ReLU()]
    ),
)
def test_a_packed_convolution_is_the_convolution_at_any_size(kernel, stride, grouped, bias, side_px, batch, activation):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 6, kernel, stride, padding=kernel // 2, groups=3 if grouped else 1, bias=bias)
    network = nn.Sequential(convolution, activation).eval()
    x = torch.randn(2 * batch, 3, side_px, side_px)

    with torch.inference_mode():
        found, expected = packed(network)(x), network(x)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@given(kernel=st.integers(2, 5), side=st.integers(2, 10), groups=st.sampled_from([1, 3]))
def test_tensorflow_s_padding_becomes_zeros_in_the_kernel(kernel, side, groups):
    torch.manual_seed(0)
    network = nn.Sequential(Conv2dSame(3, 6, kernel, stride=2, groups=groups)).eval()
    x = torch.randn(2, 3, 2 * side, 2 * side)

    with torch.inference_mode():
        found, expected = packed(network)(x), network(x)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_what_works_in_place_is_taken_into_the_convolution_and_nothing_else():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.ReLU(inplace=True)
    )

    made = packed(network)

    assert [type(module) for module in made] == [Packed, nn.Identity, Packed, nn.ReLU, nn.ReLU]
    assert [made[0].activation, made[2].activation] == [("relu", []), ("none", [])]


def test_an_activation_of_a_sum_is_not_taken_into_the_last_of_its_terms():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolve, self.act = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.convolve(x)
            y += x
            return self.act(y)

    torch.manual_seed(0)
    network = nn.Sequential(Residual()).eval()
    x = torch.randn(2, 3, 9, 9)

    with torch.inference_mode():
        torch.testing.assert_close(packed(network)(x), network(x))


def test_an_activation_that_serves_twice_stays():
    torch.manual_seed(0)
    act = nn.ReLU(inplace=True)
    network = nn.Sequential(nn.Conv2d(3, 3, 1), act, nn.Conv2d(3, 3, 1), act).eval()
    x = torch.randn(2, 3, 9, 9)

    with torch.inference_mode():
        torch.testing.assert_close(packed(network)(x), network(x))


def test_convolutions_of_pooled_maps_become_products():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 8, 1), nn.SiLU(inplace=True), nn.Conv2d(8, 2, 1)
    ).eval()
    x = torch.randn(4, 3, 9, 9)

    made = packed(network)

    assert [type(module) for module in made] == [nn.AdaptiveAvgPool2d, Product, nn.SiLU, Product]
    with torch.inference_mode():
        torch.testing.assert_close(made(x), network(x))
