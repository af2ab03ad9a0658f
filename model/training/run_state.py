"""How far a training run has come, and what its epochs were worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LAST_EPOCH = "epoch"  # in place of a value of the history: the last epoch is the best
HIGHER_IS_BETTER = {"val/loss": False, "val/pixel_ap/all": True, "val/i_auroc": True}

History = list[dict[str, float]]


@dataclass
class RunState:
    """How far a run has come; with the weights and the optimiser's state, all that it needs to go on."""

    step: int = 0  # batches learned from, over the whole run
    batch: int = 0  # batches learned from in the epoch that runs
    pairs: int = 0  # in those, on all devices
    loss: float = 0.0  # sum over those, each batch weighted by its pairs
    history: History = field(default_factory=list)  # a point an epoch, from the first

    @property
    def epoch(self) -> int:
        """The epoch that runs, from 1."""
        return len(self.history) + 1

    def add(self, loss: float, pairs: int) -> None:
        """Count a batch."""
        self.step += 1
        self.batch += 1
        self.pairs += pairs
        self.loss += loss * pairs

    def close_epoch(self, point: Mapping[str, float]) -> None:
        """Count an epoch; `point` is what validation found."""
        self.history.append(dict(sorted({"train/loss": self.loss / self.pairs, **point}.items())))
        self.batch, self.pairs, self.loss = 0, 0, 0.0


def best_epoch(history: Sequence[Mapping[str, float]], select_by: str) -> int:
    """The epoch, from 1, of the best value; the first of equals."""
    if select_by == LAST_EPOCH:
        return len(history)
    sign = 1 if HIGHER_IS_BETTER[select_by] else -1
    values = [sign * point[select_by] for point in history]
    return values.index(max(values)) + 1
