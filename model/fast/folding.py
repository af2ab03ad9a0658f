"""What no gradient goes through, in its fast form: normalisation folded into the convolutions before it."""

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from model.metauas import MetaUAS

PROBE_PX = 64  # side of the images of the one run that shows which normalisation follows which convolution


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
    fast.encoder.requires_grad_(requires_grad=False)
    return fast


def fold(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Fold batch normalisation into the convolution before it, as seen in a run on `inputs`."""
    for convolution, norm in _normalised(network, inputs):
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


def replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in place of another, wherever that stands."""
    for parent in network.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)


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


@torch.inference_mode(mode=False)  # which does not count the versions of tensors
@torch.no_grad()
def _normalised(network: nn.Module, inputs: Sequence[Tensor]) -> list[tuple[nn.Conv2d, Any]]:
    """Convolutions with the batch normalisation that takes their output as it is; both run once.

    It is seen in one run of `network` on `inputs`, not guessed from names.
    """
    # By id; the tensors are held, so that no id is used twice. A tensor's version tells of changes in place.
    outputs: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}
    runs = Counter[nn.Module]()
    found: list[tuple[nn.Conv2d, nn.Module]] = []

    def after_convolution(module: nn.Conv2d, _: Any, output: Tensor) -> None:
        runs[module] += 1
        outputs[id(output)] = (module, output, output._version)  # noqa: SLF001

    def before_norm(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        runs[module] += 1
        made = outputs.get(id(arguments[0]))
        if made is not None and made[1]._version == made[2]:  # noqa: SLF001
            found.append((made[0], module))

    modules = list(network.modules())
    handles = [m.register_forward_hook(after_convolution) for m in modules if isinstance(m, nn.Conv2d)]
    handles += [m.register_forward_pre_hook(before_norm) for m in modules if isinstance(m, nn.BatchNorm2d)]
    try:
        network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [(convolution, norm) for convolution, norm in found if runs[convolution] == runs[norm] == 1]
