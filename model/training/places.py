"""Where a training reads and writes, and what it says of a network: what all systems' runs have in common."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn


@dataclass(frozen=True)
class Places:
    """The folders that a training reads and writes."""

    shards: Path  # of pairs, or of features
    blocks: Path  # what is kept of pairs in a store
    runs: Path  # all runs, each in a folder of its own
    model: Path  # where this run's checkpoints are shown
    curves: Path  # DVCLive's tables, and this run's pictures


def count_parameters(network: nn.Module) -> str:
    """How many parameters there are and how many learn, in words."""
    everything = sum(parameter.numel() for parameter in network.parameters())
    learnable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return f"{everything:,} parameters, {learnable:,} learn"
