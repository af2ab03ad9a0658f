"""What a system brings to a run: its network and optimiser, a step of learning, and what an epoch is worth."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from configs.train import Recipe
from model.pairs import PairDataset
from model.training.devices import Devices
from model.training.feed import Batch
from model.training.held import Held
from model.training.plan import FOR_NETWORK

RecipeT = TypeVar("RecipeT", bound=Recipe)
NetworkT = TypeVar("NetworkT", bound=nn.Module)
DrawsT = TypeVar("DrawsT")

WARM_UP_SHARE = 0.05  # of the steps of the cosine schedule
STEP_AT, STEP_TO = 0.801, 0.1  # OneNIP's released code: 801 of 1,000 epochs at the full rate, then a tenth


@dataclass(frozen=True)
class Learned:
    """What a step leaves behind, on the device and perhaps not computed yet."""

    loss: Tensor  # float32 (), of the whole batch
    of_pairs: Tensor  # float32 (B,), of this device's pairs; not finite where a pair is to blame


class Learner(ABC, Generic[NetworkT, RecipeT, DrawsT]):
    """A network, its optimiser and its recipe, on one of several devices.

    The loss of a batch and its gradient are those of the whole batch, however it is split: into parts of `device_batch`
    pairs, and over the devices. What a split does change is batch normalisation, whose statistics are those of a part.
    After a step all devices hold the same weights and running statistics.

    Gradients are summed by hand instead of by DistributedDataParallel, which averages the devices' means: that is
    another loss where they have different numbers of valid pixels, and it fails on parameters that no gradient reaches.

    Args:
        network: what learns, on the device already.
        recipe: section `train` of the parameters.
        seed: of all draws.
        steps: of the whole run, for the schedule.
        devices: those that learn together.
        groups: the learnable parameters, as the optimiser takes them; `share`: of the learning rate.
    """

    system: ClassVar[str]  # as `model.system` names it; the key of its checkpoints
    version: ClassVar[int]  # of what its checkpoints say

    def __init__(
        self,
        network: NetworkT,
        recipe: RecipeT,
        seed: int,
        steps: int,
        devices: Devices,
        groups: Sequence[Mapping[str, Any]],
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.steps = steps
        self.devices = devices
        self._learnable = [parameter for group in groups for parameter in group["params"]]
        self.optimizer = torch.optim.AdamW(map(dict, groups), lr=recipe.lr, weight_decay=recipe.weight_decay)

    def start(self, training: PairDataset) -> None:
        """Look at some of the pairs before the first step of a run; on the first device alone."""

    @abstractmethod
    def draw(self, batch: Batch, epoch: int) -> DrawsT:
        """The random numbers of a batch in `epoch`, from 1: of each pair by its place in the data set alone."""

    @abstractmethod
    def step(self, batch: Batch, draws: DrawsT, epoch: int, number: int, step: int) -> Learned:
        """Learn from this device's share of a batch. Nothing here waits for a GPU.

        Args:
            batch: its pixels on the device.
            draws: of `draw`.
            epoch: from 1.
            number: of the batch in its epoch, from 0.
            step: of the whole run, from 0.
        """

    @abstractmethod
    def validate(self, held: Held) -> dict[str, float]:
        """What an epoch is worth: `val/loss`, `val/pixel_ap/all` and what else the curves show."""

    @abstractmethod
    def draw_views(self, path: Path, batch: Batch) -> None:
        """Draw pairs of the first epoch as the network sees them, into a PNG."""

    @abstractmethod
    def draw_predictions(self, path: Path, title: str, batch: Batch, names: Sequence[str]) -> None:
        """Draw what the network finds in val pairs, which have `names`, into a PNG."""

    def autocast(self) -> torch.autocast:
        """The recipe's precision, to compute in."""
        bf16 = self.recipe.precision == "bf16-mixed"
        return torch.autocast(self.devices.device.type, torch.bfloat16, enabled=bf16)

    def _begin(self, epoch: int, number: int) -> None:
        """Begin a step: no gradient, and the network's own draws (dropout) as a resumed run repeats them."""
        key = [self.seed, epoch, number, FOR_NETWORK + self.devices.rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        self.optimizer.zero_grad(set_to_none=True)

    def _update(self, loss: Tensor, step: int) -> None:
        """End a step: `loss` and the gradients summed over the devices, and the weights moved."""
        self._agree(loss)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._learnable, self.recipe.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * group["share"] * share_of_lr(self.recipe.schedule, step, self.steps)
        self.optimizer.step()

    def _agree(self, loss: Tensor) -> None:
        """Sum `loss` and the gradients over the devices, and average what batch normalisation remembers."""
        gradients = [parameter.grad for parameter in self._learnable if parameter.grad is not None]
        statistics = [
            module.get_buffer(name)
            for module in self.network.modules()
            if isinstance(module, nn.BatchNorm2d) and module.training
            for name in ("running_mean", "running_var")
        ]
        self.devices.add_up([loss, *gradients, *statistics])
        for statistic in statistics:
            statistic /= self.devices.count


AnyLearner = Learner[Any, Any, Any]


def split(pairs: int, most: int | None) -> Iterator[slice]:
    """The rows of a batch in parts of at most `most`; in one if that is None."""
    return (slice(first, first + (most or pairs)) for first in range(0, pairs, most or pairs))


def share_of_lr(schedule: str, step: int, steps: int) -> float:
    """Share of the full learning rate at `step` of `steps`."""
    if schedule == "cosine":
        return cosine(step, steps)
    return STEP_TO if schedule == "step" and step >= STEP_AT * steps else 1.0


def cosine(step: int, steps: int) -> float:
    """Share of the full learning rate at `step` of `steps`: up in a straight line, down to zero along a cosine."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
