"""Images of any size to the squares that CLIP sees."""

import torch.nn.functional as F
from torch import Tensor


def fit_square(images: Tensor, side: int) -> Tensor:
    """Bring float32 (B, 3, H, W) in [0, 1] to (B, 3, side, side): the shorter side bicubically, then the middle.

    As PIL and torchvision do it for CLIP, without their rounding to 8 bits. Images of that size stay as they are.
    """
    height, width = images.shape[2:]
    shorter = min(height, width)
    if shorter != side:
        size = (int(side * height / shorter), int(side * width / shorter))
        images = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    top, left = (round((length - side) / 2) for length in images.shape[2:])
    return images[:, :, top : top + side, left : left + side]
