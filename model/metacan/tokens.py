"""What CLIP's image tower makes of images: the patches' tokens at three depths, which no training changes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from configs.errors import BadRequest
from model.encoders import normalised
from model.metacan.images import fit_square


@torch.no_grad()
def image_tokens(tower: Any, blocks: Sequence[int], side: int, images: Tensor) -> Tensor:
    """Encode RGB images float32 (B, 3, H, W) in [0, 1] -> float32 (B, levels, patches, width), one level a block.

    The shorter side is brought to the tower's and the middle cut out. The class token is left out, and neither the
    tower's last norm nor its projection is applied, which belong to that token.

    Args:
        tower: open_clip's, frozen.
        blocks: counted from 1, after which tokens are taken.
        side: of the squares that the tower sees, in pixels.
        images: of any one size.

    Raises:
        BadRequest: images of another shape.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise BadRequest(f"MetaCAN: images are {tuple(images.shape)}; wanted (B, 3, H, W)")
    found = tower.forward_intermediates(
        normalised(fit_square(images, side)),
        indices=[block - 1 for block in blocks],
        stop_early=True,
        intermediates_only=True,
        output_fmt="NLC",
    )
    return torch.stack(found["image_intermediates"], dim=1)
