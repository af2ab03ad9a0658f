"""OneNIP and UniAD: the network, its ablations and its published weights."""

from model.onenip.checkpoint import CHECKPOINT, CHECKPOINT_VERSION
from model.onenip.learning import JITTER, dice_loss
from model.onenip.network import OneNIP
from model.onenip.published import PREPROCESSING, has_encoder, published_kind, want_encoder
from model.onenip.reconstruction import neck
from model.onenip.scoring import Comparison, relative_map

__all__ = [
    "CHECKPOINT",
    "CHECKPOINT_VERSION",
    "JITTER",
    "PREPROCESSING",
    "Comparison",
    "OneNIP",
    "dice_loss",
    "has_encoder",
    "neck",
    "published_kind",
    "relative_map",
    "want_encoder",
]
