"""The feature pyramid decoders of Table 3c, "FPN-Add" and "FPN-Cat"."""

from collections.abc import Iterable, Sequence
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Merge = Literal["add", "cat"]
LEVELS = 4  # strides 32, 16, 8, 4; the features at stride 2 are not used
PYRAMID = 256  # channels of the pyramid
BRANCH = 256  # channels of a branch; the published file has 128, segmentation_models_pytorch's own, as a comment
GROUPS = 32  # of channels, normalised together
DROPPED = 0.2  # share of channels, while training


class FPNDecoder(nn.Module):
    """A feature pyramid (Lin et al., 2017), its levels brought to stride 4 and merged (Kirillov et al., 2019).

    The paper only names the two decoders; widths and details are those of the published metauas.py and of the
    segmentation_models_pytorch that it imports: the pyramid enlarges by the nearest neighbour; each level reaches
    stride 4 by 3x3 convolutions with group normalisation, each followed by a bilinear doubling with aligned corners; a
    fifth of the merged channels is dropped in training.

    Args:
        features: channels of the features at strides 2, 4, 8, 16, 32.
        merge: whether the four branches are added or concatenated.
    """

    def __init__(self, features: Sequence[int], merge: Merge) -> None:
        super().__init__()
        self.merge = merge
        self.width = BRANCH if merge == "add" else LEVELS * BRANCH
        deepest_first = features[: -LEVELS - 1 : -1]
        self.lateral = nn.ModuleList(nn.Conv2d(width, PYRAMID, kernel_size=1) for width in deepest_first)
        self.branches = nn.ModuleList(
            nn.ModuleList(_conv_norm_relu(PYRAMID if step == 0 else BRANCH) for step in range(max(times, 1)))
            for times in reversed(range(LEVELS))
        )
        self.dropout = nn.Dropout2d(DROPPED)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """`features` (B, C_i, H / 2**i, W / 2**i) for i = 1..5 -> (B, width, H / 4, W / 4)."""
        deepest_first = features[: -LEVELS - 1 : -1]
        level, maps = None, []
        for lateral, convolutions, x in zip(self.lateral, self.branches, deepest_first, strict=True):
            level = lateral(x) if level is None else lateral(x) + F.interpolate(level, scale_factor=2, mode="nearest")
            maps.append(_to_stride_4(level, cast(nn.ModuleList, convolutions), deepest_first[-1].shape[2:]))
        return self.dropout(torch.cat(maps, dim=1) if self.merge == "cat" else sum(maps))  # type: ignore[no-any-return]


def _to_stride_4(x: Tensor, convolutions: Iterable[nn.Module], size: Sequence[int]) -> Tensor:
    """Convolve and double until `size` is reached; what has it already is convolved once."""
    for convolve in convolutions:
        x = convolve(x)
        if x.shape[2:] != size:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
    return x


def _conv_norm_relu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, BRANCH, kernel_size=3, padding=1, bias=False),
        nn.GroupNorm(GROUPS, BRANCH),
        nn.ReLU(inplace=True),
    )
