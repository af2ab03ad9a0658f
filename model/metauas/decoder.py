"""The UNet decoder with channel and spatial attention, its keys as the published one's (paper, section 3.2)."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQUEEZE = 16  # channels per channel of the squeezed middle of SCSE


class UNetDecoder(nn.Module):
    """Features from the deepest up -> one map at stride 2, or 1 where there are five `channels`.

    Args:
        features: channels of the features at strides 2, 4, 8, 16, 32.
        channels: of the blocks' outputs, from the deepest. Block i doubles the resolution and takes in the features one
            level up; a fifth block has none left to take in, and then no attention either (published network).
    """

    def __init__(self, features: Sequence[int], channels: Sequence[int]) -> None:
        super().__init__()
        *skips, deepest = features
        inputs = [deepest, *channels[:-1]]
        taken = [*reversed(skips), 0]
        self.width = channels[-1]
        self.blocks = nn.ModuleList(
            Block(below, skip, out) for below, skip, out in zip(inputs, taken, channels, strict=False)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """`features` (B, C_i, H / 2**i, W / 2**i) for i = 1..5 -> (B, channels[-1], H or H / 2, W or W / 2)."""
        *skips, x = features
        for block, skip in zip(self.blocks, [*reversed(skips), None], strict=False):
            x = block(x, skip)
        return x


class Block(nn.Module):
    """Twice the resolution, the skip beside it, attention, two convolutions, attention."""

    def __init__(self, below: int, skip: int, out: int) -> None:
        super().__init__()
        self.enlarge: nn.Module = nn.Upsample(scale_factor=2, mode="nearest")
        self.attention1 = Attention(below + skip) if skip else nn.Identity()
        self.conv1: nn.Module = _conv_bn_relu(below + skip, out)
        self.conv2 = _conv_bn_relu(out, out)
        self.attention2 = Attention(out) if skip else nn.Identity()

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """`x` (B, below, h, w) and `skip` (B, skip, 2h, 2w) or None -> (B, out, 2h, 2w)."""
        if skip is None:
            return self.conv2(self.conv1(self.enlarge(x)))  # type: ignore[no-any-return]  # modules are typed Any
        x = torch.cat([self.enlarge(x), skip], dim=1)
        x = self.conv2(self.conv1(self.attention1(x)))
        return self.attention2(x)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """A holder that only names the keys as the published checkpoint does: `attention1.attention.cSE...`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = SCSE(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return self.attention(x)  # type: ignore[no-any-return]


class SCSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation (Roy et al., 2018): x gated by channel and by place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(channels // SQUEEZE, 1)
        self.cSE = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, middle, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, channels, 1),
            nn.Sigmoid(),
        )
        self.sSE = nn.Sequential(nn.Conv2d(channels, 1, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        # Channels last to the eye, too: gates that are broadcast, and gradients of means, would be laid out the other
        # way, which takes two to four times as long in training on a CPU.
        values = x.permute(0, 2, 3, 1)  # (B, h, w, C)
        squeeze, excite = cast(nn.Conv2d, self.sSE[0]), self.cSE[1:]
        channel: Tensor = excite(values.mean((1, 2))[:, :, None, None]).permute(0, 2, 3, 1)  # (B, 1, 1, C)
        place = F.linear(values, squeeze.weight.flatten(1), squeeze.bias).sigmoid()  # (B, h, w, 1)
        # values * channel + values * place, with one multiplication of full size less.
        return (values * (channel + place)).permute(0, 3, 1, 2)


def _conv_bn_relu(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )
