"""Where features come from, and reading weights without running code from them."""

from model.encoders.backbone import STRIDES, Encoder, Preprocessing
from model.encoders.efficientnet_pytorch import efficientnet_pytorch_key
from model.encoders.visual_prior import WINDOWS, VisualPrior, read_visual_prior
from model.encoders.weight_files import check_finite, check_keys, read_torch, read_weights

__all__ = [
    "STRIDES",
    "WINDOWS",
    "Encoder",
    "Preprocessing",
    "VisualPrior",
    "check_finite",
    "check_keys",
    "efficientnet_pytorch_key",
    "read_torch",
    "read_visual_prior",
    "read_weights",
]
