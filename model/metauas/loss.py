"""What MetaUAS learns by (paper, section 3.4)."""

import torch.nn.functional as F
from torch import Tensor


def pixel_losses(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of each pixel (Eq. 7): logits and a mask of 0 and 1, (B, 1, H, W) -> float32, the same."""
    return F.binary_cross_entropy_with_logits(logits, mask.float(), reduction="none")
