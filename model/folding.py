"""What no gradient goes through, in its fast form: normalisation folded into convolutions, and these packed."""

import copy
from collections.abc import Sequence

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.followers import followers, replace
from model.metauas import MetaUAS
from model.packing import can_pack, pack

PROBE_PX = 64  # side of the images of the one run that shows which normalisation follows which convolution
TYPICAL_PX = 256  # side of images that weights are laid out for; right for others, too


@torch.no_grad()
def with_fast_encoder(network: MetaUAS) -> MetaUAS:
    """A network with the fast form of its frozen encoder, on a CPU and in float32; all else is `network`'s own.

    `network` keeps its encoder, which checkpoints are written from.
    """
    assert network.encoder.frozen, "batch statistics of training cannot be folded"
    shared = {id(child): child for child in network.children() if child is not network.encoder}
    fast = copy.deepcopy(network, shared)
    fold(fast.encoder, [torch.zeros(1, 3, PROBE_PX, PROBE_PX)])
    excite_in_place(fast.encoder)
    if can_pack():
        pack(fast.encoder, [torch.zeros(1, 3, TYPICAL_PX, TYPICAL_PX)])
    fast.encoder.requires_grad_(requires_grad=False)
    return fast


def fold(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Fold batch normalisation into the convolution before it, as seen in a run on `inputs`."""
    for convolution, norm in followers(network, inputs, (nn.BatchNorm2d,)):
        weight, bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        convolution.weight.copy_(weight)  # in place: keeps the memory format
        convolution.bias = nn.Parameter(bias)
        replace(network, norm, getattr(norm, "act", nn.Identity()))  # timm's norms hold their activation


def excite_in_place(network: nn.Module) -> None:
    """Let timm's squeeze and excitation change its input."""
    for module in list(network.modules()):
        if isinstance(module, SqueezeExcite):
            replace(network, module, InPlaceExcite(module))


class InPlaceExcite(nn.Module):
    """timm's squeeze and excitation, that changes its input: the map that a block has just made."""

    def __init__(self, excite: SqueezeExcite) -> None:
        super().__init__()
        self.of_mean = nn.Sequential(excite.conv_reduce, excite.act1, excite.conv_expand, excite.gate)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same tensor."""
        return x.mul_(self.of_mean(x.mean((2, 3), keepdim=True)))
