"""CLIP's two towers, of ViT-B-16-plus-240 unless sizes say otherwise, built and read as open_clip does."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from configs.features import Towers
from model.encoders.weight_files import check_finite, read_torch, sha256_of

ARCHITECTURE = "ViT-B-16-plus-240"
FILE = "vit_b_16_plus_240-laion400m_e32-699c4b84.pt"
WHERE = "https://github.com/mlfoundations/open_clip/releases/tag/v0.2-weights"
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's images
STD = (0.26862954, 0.26130258, 0.27577711)
OF_IMAGE_TOWER = "visual."  # before its keys in a file of all of CLIP; the text tower's have nothing before them


@dataclass(frozen=True)
class ClipSizes:
    """Sizes of both towers; the defaults are those of ViT-B-16-plus-240."""

    image_px: int = 240  # side of the squares that the image tower sees
    patch_px: int = 16
    width: int = 896  # numbers a token, in the image tower
    blocks: int = 12
    heads: int = 14
    embedding: int = 640  # numbers of an image or a text, after either tower
    text_width: int = 640
    text_blocks: int = 12
    text_heads: int = 10

    @property
    def patches(self) -> int:
        """How many tokens an image is, the class token left out."""
        return (self.image_px // self.patch_px) ** 2


def build_image_tower(sizes: ClipSizes) -> Any:
    """open_clip's vision transformer with a class token and random weights, frozen and in evaluation mode.

    Raises:
        Failure: the package open_clip is not installed.
    """
    _check_package("CLIP")
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    config = CLIPVisionCfg(
        image_size=sizes.image_px,
        patch_size=sizes.patch_px,
        width=sizes.width,
        layers=sizes.blocks,
        head_width=sizes.width // sizes.heads,
    )
    return _frozen(_build_vision_tower(sizes.embedding, config))


def build_text_tower(sizes: ClipSizes) -> Any:
    """open_clip's text transformer with random weights, frozen and in evaluation mode; see `build_image_tower`."""
    _check_package("CLIP")
    from open_clip.model import CLIPTextCfg, _build_text_tower

    config = CLIPTextCfg(width=sizes.text_width, heads=sizes.text_heads, layers=sizes.text_blocks)
    return _frozen(_build_text_tower(sizes.embedding, config))


def sizes_of(towers: Towers | None) -> ClipSizes:
    """The sizes that parameters name; those of ViT-B-16-plus-240 where they name none."""
    return ClipSizes(**towers.model_dump()) if towers else ClipSizes()


@dataclass(frozen=True)
class ClipFile:
    """The content of open_clip's file, of all of CLIP or of its image tower alone. `read_clip` makes it."""

    path: Path
    state: Mapping[str, Tensor]

    @property
    def has_text(self) -> bool:
        """Whether the text tower is there, too."""
        return "token_embedding.weight" in self.state

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal digest of the file."""
        return sha256_of(self.path)

    def check_is(self, sha256: str | None, user: str) -> None:
        """Check that this is the file that `user` was trained with.

        Raises:
            BadRequest: it is another one, or there was none.
        """
        if self.sha256 != sha256:
            raise BadRequest(
                f"{self.path}: of sha256 {self.sha256}, but {user} was trained with CLIP weights of sha256"
                f" {sha256 or '(none: random ones)'}; download {FILE} from {WHERE} and pass its path"
            )

    def image_tower(self, sizes: ClipSizes | None = None) -> Any:
        """The image tower, frozen; of ViT-B-16-plus-240 unless `sizes` say otherwise.

        Raises:
            BadRequest: the file has no such tower, or it holds NaN or infinity.
        """
        with torch.device("meta"):  # nothing is allocated for what the file brings
            tower = build_image_tower(sizes or ClipSizes())
        own = {
            key.removeprefix(OF_IMAGE_TOWER): value
            for key, value in self.state.items()
            if key.startswith(OF_IMAGE_TOWER) or not self.has_text  # its blocks would be named like the text tower's
        }
        self._fill(tower, own)
        return tower

    def text_tower(self, sizes: ClipSizes | None = None) -> Any:
        """The text tower; as `image_tower`."""
        if not self.has_text:
            raise BadRequest(f"{self.path}: holds no text tower, only one of images; pass all of CLIP, as {FILE}")
        with torch.device("meta"):
            tower = build_text_tower(sizes or ClipSizes())
        self._fill(tower, self.state)
        tower.attn_mask = tower.build_causal_mask()  # no weight, so no file brings it
        return tower

    def _fill(self, tower: Any, state: Mapping[str, Tensor]) -> None:
        wanted = tower.state_dict()
        wrong = [key for key, value in wanted.items() if key not in state or state[key].shape != value.shape]
        if wrong:
            raise BadRequest(
                f"{self.path}: not weights of {ARCHITECTURE}: {wrong[0]} is missing or of another shape; pass {FILE}"
            )
        check_finite({key: state[key] for key in wanted}, self.path)
        tower.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
        _frozen(tower)


def read_clip(path: str | Path | None, user: str, parameter: str) -> ClipFile:
    """Read open_clip's file; `user` is what needs it, and `parameter` names the path, both for errors.

    Raises:
        Failure: the package open_clip is not installed.
        BadRequest: no path, no such file, or one that is no torch file of tensors.
    """
    _check_package(user)
    if path is None or not Path(path).is_file():
        raise BadRequest(
            f"{user}: no CLIP weights ({parameter} = {path}); download {FILE} from {WHERE} and pass its path"
        )
    content = read_torch(Path(path))
    state = content.get("state_dict", content)
    return ClipFile(Path(path), {key.removeprefix("module."): value for key, value in state.items()})


def is_clip(content: Mapping[str, Any]) -> bool:
    """Whether a file's content has the names of open_clip's image tower, whole or not."""
    return any(key.endswith("class_embedding") for key in content.get("state_dict", content))


def normalised(images: Tensor) -> Tensor:
    """RGB images float32 (B, 3, H, W) in [0, 1] with the mean and deviation of CLIP's."""
    mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def _check_package(user: str) -> None:
    try:
        import open_clip  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise Failure(f"{user}: open_clip cannot be imported ({error}); pip install 'metauas-pipeline[clip]'") from None


def _frozen(tower: nn.Module) -> nn.Module:
    return tower.eval().requires_grad_(requires_grad=False)
