"""AD meta-learning: the loss of a set, and of tasks after their inner step (paper, section 3.4)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from configs.errors import BadRequest
from model.metacan.comparison import Term, compare_features
from model.metacan.detector import Detector

SMALLEST_SET = 2  # batch normalisation has no statistics of one image
FOCUS = 2  # gamma of Lin et al. (2017)


class Task(NamedTuple):
    """One category's images as features float32 (n, 3, patches, width); labels (n,) are 1 where anomalous, 0 elsewhere.

    The references are normal, and both sets'.
    """

    references: Tensor
    support: Tensor
    support_labels: Tensor
    query: Tensor
    query_labels: Tensor


def focal_loss(score: Tensor, labels: Tensor) -> Tensor:
    """Focal loss of scores (n,) in [0, 1], which are taken for logits, against labels (n,): its mean, a scalar.

    Of the paper's "combination of binary classification loss and focal loss" the release has the latter alone, and a
    sigmoid on top of a score that has had one: a balanced set never costs less than 0.098. Eq. 9 has the sum.
    """
    entropy = F.binary_cross_entropy_with_logits(score, labels.to(score.dtype), reduction="none")
    return ((1 - (-entropy).exp()) ** FOCUS * entropy).mean()


def meta_loss(
    detector: Detector, terms: Sequence[Term], tasks: Sequence[Task], inner_lr: float, *, first_order: bool
) -> Tensor:
    """The mean over tasks of the query set's loss after an inner step of the `detector`; see `MetaCAN.meta_loss`.

    Raises:
        BadRequest: there is no task, or a set has fewer than two images.
    """
    if not tasks:
        raise BadRequest("MetaCAN: no task to learn from; wanted one of each category")
    weights = dict(detector.named_parameters())
    losses = []
    with own_statistics(detector):
        for task in tasks:
            references, support, support_labels, query, query_labels = task
            before = focal_loss(_score(detector, weights, terms, references, support), support_labels)
            gradients = torch.autograd.grad(before, list(weights.values()), create_graph=not first_order)
            adapted = {
                name: weight - inner_lr * gradient  # Eq. 10
                for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
            }
            losses.append(focal_loss(_score(detector, adapted, terms, references, query), query_labels))
    return torch.stack(losses).mean()


@contextmanager
def own_statistics(detector: Detector) -> Iterator[Detector]:
    """Have batch normalisation use each batch's own statistics, and move its running ones, whatever the mode is."""
    was_training = detector.training
    detector.train()
    try:
        yield detector
    finally:
        detector.train(was_training)


def _score(
    detector: Detector, weights: Mapping[str, Tensor], terms: Sequence[Term], references: Tensor, images: Tensor
) -> Tensor:
    """Scores (n,) of a set under other weights of the detector; its running statistics stay as they are."""
    if len(images) < SMALLEST_SET:
        raise BadRequest(f"MetaCAN: a task's set of {len(images)}; wanted at least {SMALLEST_SET} images to learn from")
    state = {**weights, **{name: value.clone() for name, value in detector.named_buffers()}}
    return compare_features(
        references, images, lambda difference: functional_call(detector, state, (difference,)), terms
    ).score
