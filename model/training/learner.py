"""One step of learning: the loss of a batch over all devices, its gradient in parts, and the update."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.train import Train
from model.fast import with_fast_encoder
from model.metauas import MetaUAS
from model.pairs import Draws, Prepared, draw, label, prepare, see
from model.training.devices import Devices
from model.training.feed import Batch
from model.training.plan import FOR_NETWORK

WARM_UP_SHARE = 0.05  # of the steps of the cosine schedule


@dataclass(frozen=True)
class Learned:
    """What a step leaves behind, on the device and perhaps not computed yet."""

    loss: Tensor  # float32 (), of the whole batch
    of_pairs: Tensor  # float32 (B,), sums over the pixels of this device's pairs


class Learner:
    """A network, its optimiser and the recipe (paper, section 3.4 and appendix A), on one of several devices.

    The loss of a batch is the mean over its valid pixels on all devices, and its gradient is summed over the parts of
    `device_batch` pairs and over the devices: both are those of the whole batch, however it is split. What a split does
    change is batch normalisation, whose statistics are those of a part. After a step all devices hold the same weights
    and running statistics.

    Gradients are summed by hand instead of by DistributedDataParallel, which averages the devices' means: that is
    another loss where they have different numbers of valid pixels, and it fails on parameters that no gradient reaches.

    Args:
        network: what learns, on the device already.
        recipe: section `train` of the parameters.
        seed: of the views and of the network's own draws.
        steps: of the whole run, for the schedule.
        devices: those that learn together.
    """

    def __init__(self, network: MetaUAS, recipe: Train, seed: int, steps: int, devices: Devices) -> None:
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.steps = steps
        self.devices = devices
        self._forward: Callable[[Tensor, Tensor], Tensor] = network
        if recipe.compile:
            self._forward = torch.compile(network)
        elif devices.device.type == "cpu" and recipe.precision == 32 and network.encoder.frozen:
            # What is learned is the same but for rounding; a CPU spends a fifth of a step in the encoder otherwise.
            self._forward = with_fast_encoder(network)
        self._learnable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        aligning = set(network.alignment.parameters())
        groups = [
            {"params": [parameter for parameter in self._learnable if parameter not in aligning], "share": 1.0},
            {
                "params": [parameter for parameter in self._learnable if parameter in aligning],
                "share": recipe.alignment_lr_share,
            },
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)

    def step(self, batch: Batch, draws: Draws, epoch: int, number: int, step: int) -> Learned:
        """Learn from this device's share of a batch.

        A part's views are made when its turn comes, so that no more of them are held at once; labels of all come first,
        because the loss is divided by the number of valid pixels. Nothing here waits for a GPU.

        Args:
            batch: its pixels on the device.
            draws: its views, of `draw`.
            epoch: from 1.
            number: of the batch in its epoch, from 0.
            step: of the whole run, from 0.
        """
        # The network's own draws (dropout) depend on the place in the run, so a resumed run repeats them.
        key = [self.seed, epoch, number, FOR_NETWORK + self.devices.rank]
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        self.optimizer.zero_grad(set_to_none=True)
        parts = split(len(batch["index"]), self.recipe.device_batch)
        labels = [label(batch["mask"][part], draws.of(part)) for part in parts]
        valid = torch.stack([counted.sum() for _, counted in labels]).sum()
        self.devices.add_up([valid])  # before the gradient, which is divided by it
        valid = valid.clamp(min=1)
        of_pairs = []
        for part, (mask, counted) in zip(parts, labels, strict=True):
            prompt, query = see(batch["pair"][part], draws.of(part))
            with self.autocast():
                logits = self._forward(prompt, query)
            sums = (pixel_losses(logits, mask) * counted).sum(dim=(1, 2, 3))
            (sums.sum() / valid).backward()  # type: ignore[no-untyped-call]
            of_pairs.append(sums.detach())
        losses = torch.cat(of_pairs)
        loss = losses.sum() / valid
        self._agree(loss)
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._learnable, self.recipe.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr * group["share"] * self._share_of_lr(step)
        self.optimizer.step()
        return Learned(loss, losses)

    def draw(self, batch: Batch, epoch: int) -> Draws:
        """The random numbers of a batch's views in `epoch`."""
        height, width = batch["mask"].shape[-2:]
        indices, prompts = batch["index"].tolist(), batch["prompt_is"].tolist()
        share = self.recipe.unchanged_share
        return draw(self.recipe.augment, self.seed, epoch, indices, prompts, height, width, share)

    def views(self, batch: Batch, epoch: int) -> Prepared:
        """What the network sees of a batch in `epoch`."""
        return prepare(batch, self.recipe.augment, self.seed, epoch, self.recipe.unchanged_share)

    def autocast(self) -> torch.autocast:
        """The recipe's precision, to compute in."""
        bf16 = self.recipe.precision == "bf16-mixed"
        return torch.autocast(self.devices.device.type, torch.bfloat16, enabled=bf16)

    def _share_of_lr(self, step: int) -> float:
        return cosine(step, self.steps) if self.recipe.schedule == "cosine" else 1.0

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


def split(pairs: int, most: int | None) -> list[slice]:
    """The rows of a batch in parts of at most `most`; in one if that is None."""
    return [slice(first, first + (most or pairs)) for first in range(0, pairs, most or pairs)]


def pixel_losses(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy of each pixel (Eq. 7), also of those that are not valid: float32 (B, 1, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, mask.float(), reduction="none")


def cosine(step: int, steps: int) -> float:
    """Share of the full learning rate at `step` of `steps`: up in a straight line, down to zero along a cosine."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
