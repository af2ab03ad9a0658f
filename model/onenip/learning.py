"""What a step of learning needs beside the network: noise on features, and the dice loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

JITTER = 20.0  # noise of a channel, in means of a token's length over its channels
DICE_WEIGHT = 0.5  # the paper's lambda (appendix A)
SMOOTHING = 1.0  # of the dice loss


@dataclass(frozen=True)
class Losses:
    """Of a batch, float32 () each."""

    mse: Tensor  # mean of reconstruction and restoration (Eq. 4 and 5), the first alone without synthetic images
    dice: Tensor  # mean over images; 0 without a refiner
    total: Tensor  # mse + DICE_WEIGHT * dice, half of Eq. 8


def draw_noise(rngs: Sequence[np.random.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal float32 (B, 3, C, h, w) for `jitter`: of each sample by its own generator.

    Args:
        rngs: one a sample, so that a sample's noise depends neither on its batch nor on where a run was resumed.
        shape: (C, h, w) of the features; the three are those of the normal, the synthetic and the prompt's image.
    """
    return torch.from_numpy(np.stack([rng.standard_normal((3, *shape), dtype=np.float32) for rng in rngs]))


def jitter(features: Tensor, noise: Tensor) -> Tensor:
    """Add `noise`, standard normal, in proportion to each token's length: float32 (B, C, h, w) -> the same shape."""
    length: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features + noise * (JITTER / features.shape[1] * length)


def dice_loss(maps: Tensor, masks: Tensor) -> Tensor:
    """As released, `maps` in [0, 1] and `masks` of 0 and 1, float32 (B, 1, H, W) -> (B,).

    Eq. 7 without its factor of 2 and with a 1 added above and below. So a perfect map of an anomaly loses almost a
    half, one of a normal image nothing, and without the 1 nothing could be learned from normal images.
    """
    common, both = (maps * masks).sum(dim=(1, 2, 3)), (maps.square() + masks.square()).sum(dim=(1, 2, 3))
    return 1 - (common + SMOOTHING) / (both + SMOOTHING)
