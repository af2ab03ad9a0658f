"""Convolutions on a CPU with their weights laid out once, and the activation that follows within them.

PyTorch hands oneDNN plain weights, which are rearranged at every call; for deep levels that costs as much as their
products. These are the operators that torch.compile itself generates for a CPU, without its minutes of compiling.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# oneDNN's names, and what these take.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.SiLU: ("swish", []),
}


class Packed(nn.Module):
    """A convolution and the activation that follows it, if one is given.

    Args:
        convolution: what it computes.
        size: of a typical input, (B, C, h, w).
        activation: of a type in `ACTIVATIONS`.
    """

    def __init__(self, convolution: nn.Conv2d, size: list[int], activation: nn.Module | None) -> None:
        super().__init__()
        assert isinstance(convolution.padding, tuple)
        self.how = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(convolution.weight, *self.how, size)  # noqa: SLF001
        self.bias = convolution.bias
        self.activation = ("none", []) if activation is None else ACTIVATIONS[type(activation)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w')."""
        run = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001
        found: Tensor = run(x, self.weight, self.bias, *self.how, *self.activation, "")
        return found


class Product(nn.Module):
    """A 1x1 convolution of maps of a single place: the product that it is, without oneDNN's set-up."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight.flatten(1).contiguous(), convolution.bias

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 1, 1) -> (B, C', 1, 1)."""
        return F.linear(x.flatten(1), self.weight, self.bias)[:, :, None, None]
