"""How MetaCAN learns: the paper's recipe, the release's, and one outer step by either."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model.metacan.meta import Task
from model.metacan.network import MetaCAN


@dataclass(frozen=True)
class Recipe:
    """Everything in which ways to learn MetaCAN differ. An outer step learns from one task of each category."""

    shots: int  # references of a task
    support: int  # images in its support set, half of them anomalous
    query: int  # and in its query set
    steps: int  # outer ones, in all
    inner_lr: float  # of Eq. 10; 0 adapts nothing: the paper's "w/o AD meta-learning" (Table 4)
    outer_lr: float  # of Eq. 12, Adam's
    first_order: bool = False  # the inner gradient is a constant for the outer one
    only_last_task: bool = False  # the other losses are dropped, the last one is divided by their number all the same
    fresh_adam: bool = False  # each step is Adam's first: outer_lr along the gradient's sign
    remember: bool = True  # running statistics follow the tasks; or else they stay 0 and 1


# "15 epochs" (paper, section 4.1) of unknown length: 100 steps is what the release's settings say and its loop ignores.
PAPER = Recipe(shots=2, support=32, query=8, steps=1500, inner_lr=1e-3, outer_lr=1e-3)
RELEASED = Recipe(
    shots=2,
    support=8,
    query=32,
    steps=15,
    inner_lr=0.01,
    outer_lr=1e-3,
    only_last_task=True,
    fresh_adam=True,
    remember=False,
)


def outer_step(network: MetaCAN, tasks: Sequence[Task], optimizer: torch.optim.Optimizer, recipe: Recipe) -> float:
    """Learn from one task of each category (Eq. 10-12); return the loss, as `MetaCAN.meta_loss` defines it.

    Gradients are summed task by task, so memory is that of one task, however many there are, if `tasks` reads each when
    it is asked for; see benchmarks.metacan_cost.

    Raises:
        BadRequest: there is no task, a set is too small, or the network has nothing that learns.
    """
    if recipe.fresh_adam:
        optimizer.state.clear()
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for task in tasks[-1:] if recipe.only_last_task else tasks:
        loss = network.meta_loss([task], recipe.inner_lr, first_order=recipe.first_order) / len(tasks)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        total += loss.item()
    optimizer.step()
    if recipe.remember:
        for task in tasks:
            network.remember(task)
    return total
