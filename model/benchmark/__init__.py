"""A benchmark on disk to scores: which images, which prompts, which methods."""

from model.benchmark.cost import Cost
from model.benchmark.evaluation import NETWORK, VARIANT_NAMES, Evaluation, Outcome
from model.benchmark.methods import network_method

__all__ = [
    "NETWORK",
    "VARIANT_NAMES",
    "Cost",
    "Evaluation",
    "Outcome",
    "network_method",
]
