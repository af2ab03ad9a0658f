"""CLIP's image tower, ViT-B-16-plus-240 of open_clip: what WinCLIP+'s visual prior is made of."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from model.encoders.weight_files import check_finite, read_torch

ARCHITECTURE = "ViT-B-16-plus-240"
FILE = "vit_b_16_plus_240-laion400m_e32-699c4b84.pt"
WHERE = "https://github.com/mlfoundations/open_clip/releases/tag/v0.2-weights"
WINDOWS = (2, 3)  # sides in patches: WinCLIP's small and middle scale
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's images
STD = (0.26862954, 0.26130258, 0.27577711)


class VisualPrior(nn.Module):
    """The image tower of CLIP, at several scales.

    Args:
        tower: open_clip's vision transformer, with a class token.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower: Any = tower.eval().requires_grad_(requires_grad=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Encode float32 (B, 3, H, W) in [0, 1] -> features (B, C, h, w) of 2 x 2 and 3 x 3 windows and of patches.

        Images are brought to CLIP's own size. The patches' are the tokens after all blocks, without the last norm and
        projection, as in the implementation that the paper ran (appendix B: zqhang/Accurate-WinCLIP-pytorch).
        """
        size = self.tower.image_size
        resized = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        tokens = self.tower._embeds((resized - self.mean) / self.std)  # noqa: SLF001  # (B, 1 + hw, D)
        rows, columns = self.tower.grid_size
        features = [self._windows(tokens, rows, columns, side) for side in WINDOWS]
        for block in self.tower.transformer.resblocks:
            tokens = block(tokens)
        patches = tokens[:, 1:].transpose(1, 2)  # (B, D, hw)
        return [*features, patches.reshape(*patches.shape[:2], rows, columns)]

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


def read_clip(path: str | None) -> VisualPrior:
    """Build the image tower of ViT-B-16-plus-240 and load it from open_clip's file, whole or of the tower alone.

    Raises:
        Failure: the package open_clip is not installed.
        BadRequest: no path, no such file, or weights that are not of this model, or hold NaN or infinity.
    """
    try:
        import open_clip
        from open_clip.model import _build_vision_tower
    except ImportError as error:
        raise Failure(
            f"variant best+clip: open_clip cannot be imported ({error}); pip install 'metauas-pipeline[clip]'"
        ) from None
    if path is None or not Path(path).is_file():
        raise BadRequest(
            f"variant best+clip: no CLIP weights (evaluate.clip_weights = {path}); download {FILE} from {WHERE} and"
            " pass its path"
        )
    config = open_clip.get_model_config(ARCHITECTURE)
    with torch.device("meta"):
        tower = _build_vision_tower(config["embed_dim"], config["vision_cfg"])
    content = read_torch(Path(path))
    state = content.get("state_dict", content)
    state = {key.removeprefix("module.").removeprefix("visual."): value for key, value in state.items()}
    wanted = tower.state_dict()
    wrong = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise BadRequest(
            f"{path}: not weights of {ARCHITECTURE}: {wrong[0]} is missing or of another shape; pass {FILE}"
        )
    check_finite({key: state[key] for key in wanted}, path)
    tower.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
    return VisualPrior(tower)
