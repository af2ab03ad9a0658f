"""The pairs held back to validate on, on the device of whoever looks at them."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import default_collate

from model.pairs import PairDataset
from model.training.feed import Batch, Feed, to_device


class Held:
    """The val pairs, in batches of at most `at_once`.

    Args:
        dataset: the val pairs.
        at_once: pairs in a batch.
        workers: threads that read ahead.
        device: where batches go.
    """

    def __init__(self, dataset: PairDataset, at_once: int, workers: int, device: torch.device) -> None:
        self.dataset = dataset
        self.device = device
        self._feed = Feed(dataset, at_once, workers=workers)
        self.at_once = max(self._feed.batch_sizes)

    def all(self) -> Iterator[Batch]:
        """Every pair once, as they are stored."""
        return (to_device(batch, self.device) for batch in self._feed.epoch(1))

    def some(self, indices: Sequence[int], at_once: int | None = None) -> Iterator[Batch]:
        """The pairs `indices`, in batches of at most `at_once`."""
        most = at_once or self.at_once
        for first in range(0, len(indices), most):
            pairs = [self.dataset[index] for index in indices[first : first + most]]
            yield to_device(default_collate(pairs), self.device)
