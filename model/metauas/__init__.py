"""MetaUAS: the network, its published weights, and what it does with several normal prompts."""

from model.metauas.alignment import distance, patches
from model.metauas.decoder import SCSE, Block, UNetDecoder
from model.metauas.few_shot import How, compare_many
from model.metauas.loss import pixel_losses
from model.metauas.metadata import CHECKPOINT, CHECKPOINT_VERSION
from model.metauas.network import MetaUAS
from model.metauas.pool import PromptPool, pooled
from model.metauas.published import is_published

__all__ = [
    "CHECKPOINT",
    "CHECKPOINT_VERSION",
    "SCSE",
    "Block",
    "How",
    "MetaUAS",
    "PromptPool",
    "UNetDecoder",
    "compare_many",
    "distance",
    "is_published",
    "patches",
    "pixel_losses",
    "pooled",
]
