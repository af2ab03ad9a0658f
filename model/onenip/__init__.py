"""OneNIP and UniAD: the network, its ablations and its published weights."""

from model.onenip.checkpoint import CHECKPOINT
from model.onenip.network import OneNIP
from model.onenip.published import has_encoder, published_kind

__all__ = ["CHECKPOINT", "OneNIP", "has_encoder", "published_kind"]
