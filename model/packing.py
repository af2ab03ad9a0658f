"""The convolutions of a network on a CPU, each replaced by the fastest that computes it."""

import platform
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from model.followers import followers, replace
from model.packed import ACTIVATIONS, Packed, Product
from model.winograd import Winograd, pays


def can_pack() -> bool:
    """Whether oneDNN is there and this is a processor that these operators are made for."""
    return torch._C._has_mkldnn and platform.machine() in ("x86_64", "AMD64")  # noqa: SLF001


@torch.no_grad()
def pack(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Replace the convolutions of a network that can be run on `inputs`, in place.

    An activation is taken into the convolution before it where it works in place, so that nothing else can have seen
    what was there before.
    """
    for module in list(network.modules()):
        if isinstance(module, Conv2dSame) and _pads_one_more_behind(module):
            replace(network, module, _with_fixed_padding(module))
    followed = {
        convolution: activation
        for convolution, activation in followers(network, inputs, tuple(ACTIVATIONS))
        if activation.inplace
    }
    for convolution, size in _sizes(network, inputs).items():
        activation = followed.get(convolution)
        if size[2:] == [1, 1] and convolution.kernel_size == (1, 1):  # of pooled maps
            replace(network, convolution, Product(convolution))
            continue
        if pays(convolution) and isinstance(activation, nn.ReLU | None):
            replace(network, convolution, Winograd(convolution, size, relu=activation is not None))
        else:
            replace(network, convolution, Packed(convolution, size, activation))
        if activation is not None:
            replace(network, activation, nn.Identity())


def _pads_one_more_behind(same: Conv2dSame) -> bool:
    """Whether it does so on even sides, which all are that a network of strides up to 32 halves."""
    return same.stride == (2, 2) and same.dilation == (1, 1) and all(side % 2 for side in same.kernel_size)


def _with_fixed_padding(same: Conv2dSame) -> nn.Conv2d:
    """The same on even sides without TensorFlow's padding, that copies a map to pad it.

    A kernel with a row and a column of zeros before its own sees the same pixels under padding that is alike on all
    sides.
    """
    height, width = same.kernel_size
    fixed = nn.Conv2d(
        same.in_channels,
        same.out_channels,
        (height + 1, width + 1),
        stride=2,
        padding=((height - 1) // 2, (width - 1) // 2),
        groups=same.groups,
        bias=same.bias is not None,
    )
    fixed.weight.data = F.pad(same.weight, (1, 0, 1, 0)).contiguous(memory_format=torch.channels_last)
    fixed.bias = same.bias
    return fixed


def _sizes(network: nn.Module, inputs: Sequence[Tensor]) -> dict[nn.Conv2d, list[int]]:
    """The plain convolutions that run, with the size of their input."""
    sizes: dict[nn.Conv2d, list[int]] = {}

    def before_convolution(module: nn.Conv2d, arguments: tuple[Tensor, ...]) -> None:
        sizes[module] = list(arguments[0].shape)

    plain = [module for module in network.modules() if type(module) is nn.Conv2d]
    handles = [module.register_forward_pre_hook(before_convolution) for module in plain]
    try:
        network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return sizes
