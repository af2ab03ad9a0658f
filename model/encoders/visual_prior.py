"""CLIP's image tower at several scales: what WinCLIP+'s visual prior is made of."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoders.clip import normalised, read_clip

WINDOWS = (2, 3)  # sides in patches: WinCLIP's small and middle scale


class VisualPrior(nn.Module):
    """The image tower of CLIP, at several scales.

    Args:
        tower: open_clip's vision transformer, with a class token.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower: Any = tower.eval().requires_grad_(requires_grad=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode float32 (B, 3, H, W) in [0, 1] -> features (B, C, h, w) of 2 x 2 and 3 x 3 windows and of patches.

        Images are brought to CLIP's own size. The patches' are the tokens after all blocks, without the last norm and
        projection, as in the implementation that the paper ran (appendix B: zqhang/Accurate-WinCLIP-pytorch).
        """
        tokens = self.tower._embeds(normalised(self._resized(images)))  # noqa: SLF001  # (B, 1 + hw, D)
        rows, columns = self.tower.grid_size
        features = [self._windows(tokens, rows, columns, side) for side in WINDOWS]
        for block in self.tower.transformer.resblocks:
            tokens = block(tokens)
        patches = tokens[:, 1:].transpose(1, 2)  # (B, D, hw)
        return [*features, patches.reshape(*patches.shape[:2], rows, columns)]

    def whole(self, images: Tensor) -> Tensor:
        """CLIP's embedding of whole images, float32 (B, embedding), not normalised."""
        embedded: Tensor = self.tower(normalised(self._resized(images)))
        return embedded

    def _resized(self, images: Tensor) -> Tensor:
        return F.interpolate(images, self.tower.image_size, mode="bicubic", antialias=True, align_corners=False).clamp(
            0, 1
        )

    def _windows(self, tokens: Tensor, rows: int, columns: int, side: int) -> Tensor:
        """Embeddings (B, C, rows - side + 1, columns - side + 1) of every window by the class token that sees it."""
        places = torch.arange(rows * columns, device=tokens.device).view(rows, columns)
        windows = places.unfold(0, side, 1).unfold(1, side, 1)  # (h, w, side, side)
        height, width = windows.shape[:2]
        seen = tokens[:, 1:][:, windows.reshape(height * width, side * side)]  # (B, hw, side^2, D)
        first = tokens[:, None, :1].expand(-1, height * width, -1, -1)
        x = torch.cat([first, seen], dim=2).flatten(0, 1)  # (B hw, 1 + side^2, D)
        for block in self.tower.transformer.resblocks:
            x = block(x)
        embedded: Tensor = self.tower.ln_post(x[:, 0]) @ self.tower.proj  # (B hw, C)
        return embedded.view(len(tokens), height, width, -1).permute(0, 3, 1, 2)


def read_visual_prior(path: str | None) -> VisualPrior:
    """The prior with the image tower of ViT-B-16-plus-240; `path` is evaluate.clip_weights. Errors: see `read_clip`."""
    return VisualPrior(read_clip(path, "variant best+clip", "evaluate.clip_weights").image_tower())
