"""Where features come from, and reading weights without running code from them."""

from model.encoders.backbone import STRIDES, Encoder, Preprocessing
from model.encoders.clip import ARCHITECTURE, ClipFile, ClipSizes, build_image_tower, is_clip, normalised, read_clip
from model.encoders.efficientnet_pytorch import efficientnet_pytorch_key
from model.encoders.pip_weights import find_pip_weights
from model.encoders.visual_prior import WINDOWS, VisualPrior, read_visual_prior
from model.encoders.weight_files import check_finite, check_keys, read_torch, read_weights

__all__ = [
    "ARCHITECTURE",
    "STRIDES",
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
    "is_clip",
    "normalised",
    "read_clip",
    "read_torch",
    "read_visual_prior",
    "read_weights",
]
