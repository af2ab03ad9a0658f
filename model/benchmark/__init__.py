"""A benchmark on disk to scores: which images, which prompts, which methods."""

from model.benchmark.baselines import BASELINES
from model.benchmark.cost import Cost
from model.benchmark.evaluation import Evaluation, Outcome
from model.benchmark.methods import network_method

__all__ = [
    "BASELINES",
    "Cost",
    "Evaluation",
    "Outcome",
    "network_method",
]
