"""Where features come from, and reading weights without running code from them."""

from model.encoders.backbone import STRIDES, Encoder, Preprocessing
from model.encoders.clip import (
    ARCHITECTURE,
    ClipFile,
    ClipSizes,
    build_image_tower,
    is_clip,
    normalised,
    read_clip,
    sizes_of,
)
from model.encoders.efficientnet_pytorch import efficientnet_pytorch_key
from model.encoders.folders import STATE_PREFIX, TENSORS, find_pretrained, read_content, write_folder
from model.encoders.pip_weights import find_pip_weights
from model.encoders.visual_prior import WINDOWS, VisualPrior, read_visual_prior
from model.encoders.weight_files import check_finite, check_keys, read_torch, read_weights, sha256_of

__all__ = [
    "ARCHITECTURE",
    "STATE_PREFIX",
    "STRIDES",
    "TENSORS",
    "WINDOWS",
    "ClipFile",
    "ClipSizes",
    "Encoder",
    "Preprocessing",
    "VisualPrior",
    "build_image_tower",
    "check_finite",
    "check_keys",
    "efficientnet_pytorch_key",
    "find_pip_weights",
    "find_pretrained",
    "is_clip",
    "normalised",
    "read_clip",
    "read_content",
    "read_torch",
    "read_visual_prior",
    "read_weights",
    "sha256_of",
    "sizes_of",
    "write_folder",
]
