"""A benchmark on disk to scores: which images, which prompts, which methods."""

from model.benchmark.cost import Cost
from model.benchmark.evaluation import NETWORK, VARIANT_NAMES, Evaluation, Outcome
from model.benchmark.layouts import SUFFIXES, Layout
from model.benchmark.methods import network_method
from model.benchmark.protocols import Protocol, read_image, resize_image

__all__ = [
    "NETWORK",
    "SUFFIXES",
    "VARIANT_NAMES",
    "Cost",
    "Evaluation",
    "Layout",
    "Outcome",
    "Protocol",
    "network_method",
    "read_image",
    "resize_image",
]
