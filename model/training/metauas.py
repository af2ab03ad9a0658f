"""MetaUAS as it learns (paper, section 3.4 and appendix A): two views of each pair, a loss of each valid pixel."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from configs.train import Train, TrainParams
from model.fast import with_fast_encoder
from model.metauas import CHECKPOINT, CHECKPOINT_VERSION, MetaUAS, pixel_losses
from model.pairs import Draws, PairDataset, Prepared, as_images, draw, label, prepare, see
from model.training.devices import Devices, on_devices
from model.training.feed import Batch
from model.training.held import Held
from model.training.learner import Learned, Learner, split
from model.training.places import Places
from model.training.run import run_on
from model.training.sheets import write_augmented, write_predictions
from model.training.validate import VALIDATION_EPOCH, attention, false_positives, validate
from pipeline.spread import spread

WHITENING_PAIRS = 64  # at 128 px they show the deepest level a thousand places
UNCHANGED_PAIRS = 64  # val pairs whose originals are looked at for false alarms after each epoch
ATTENTION_PAIRS = 4  # val pairs whose attention is measured after each epoch


def train_metauas(params: TrainParams, places: Places, code: str) -> None:
    """Train a MetaUAS; see `model.training.run.run_on`."""
    on_devices(params.train.devices, partial(run_on, params, places, code, make_learner))


def make_learner(
    params: TrainParams, training: PairDataset, validation: PairDataset, steps: int, devices: Devices
) -> "MetaUASLearner":
    """A new network of the parameters, about to learn."""
    del training, validation
    network = MetaUAS(**params.model.arguments).to(devices.device)
    return MetaUASLearner(network, params.train, params.seed, steps, devices)


class MetaUASLearner(Learner[MetaUAS, Train, Draws]):
    """A MetaUAS; the loss of a batch is the mean over its valid pixels on all devices. For arguments see `Learner`."""

    system = CHECKPOINT
    version = CHECKPOINT_VERSION

    def __init__(self, network: MetaUAS, recipe: Train, seed: int, steps: int, devices: Devices) -> None:
        learnable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        aligning = set(network.alignment.parameters())
        groups = [
            {"params": [parameter for parameter in learnable if parameter not in aligning], "share": 1.0},
            {
                "params": [parameter for parameter in learnable if parameter in aligning],
                "share": recipe.alignment_lr_share,
            },
        ]
        super().__init__(network, recipe, seed, steps, devices, groups)

    @cached_property
    def _forward(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The network, made from its weights as they are when it is first asked for."""
        if self.recipe.compile:
            return torch.compile(self.network)
        if self.devices.device.type == "cpu" and self.recipe.precision == 32 and self.network.encoder.frozen:
            # What is learned is the same but for rounding; a CPU spends a fifth of a step in the encoder otherwise.
            return with_fast_encoder(self.network)
        return self.network

    def start(self, training: PairDataset) -> None:
        """Whiten the alignment by some originals, evenly spread, where the recipe says so."""
        if self.recipe.whiten_alignment:
            pairs = [training[place]["pair"][0] for place in spread(len(training), WHITENING_PAIRS)]
            self.network.whiten_alignment(as_images(torch.stack(pairs)))

    def draw(self, batch: Batch, epoch: int) -> Draws:
        """The random numbers of a batch's views in `epoch`."""
        height, width = batch["mask"].shape[-2:]
        indices, prompt_is = batch["index"].tolist(), batch["prompt_is"].tolist()
        share = self.recipe.unchanged_share
        return draw(self.recipe.augment, self.seed, epoch, indices, prompt_is, height, width, share)

    def step(self, batch: Batch, draws: Draws, epoch: int, number: int, step: int) -> Learned:
        """Learn from this device's share of a batch; see `Learner.step`.

        A part's views are made when its turn comes, so that no more of them are held at once; labels of all come first,
        because the loss is divided by the number of valid pixels.
        """
        self._begin(epoch, number)
        parts = list(split(len(batch["index"]), self.recipe.device_batch))
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
        self._update(loss, step)
        return Learned(loss, losses)

    def views(self, batch: Batch, epoch: int) -> Prepared:
        """What the network sees of a batch in `epoch`."""
        return prepare(batch, self.recipe.augment, self.seed, epoch, self.recipe.unchanged_share)

    def validate(self, held: Held) -> dict[str, float]:
        """Loss, pixel AP, false alarms and attention; see `model.training.validate`."""
        network, augment, seed = self.network.eval(), self.recipe.augment, self.seed
        unchanged = spread(len(held.dataset), UNCHANGED_PAIRS)
        with self.autocast():
            point = validate(network, held.all(), held.dataset.kind_names, augment, seed)
            point |= false_positives(network, held.some(unchanged), augment, seed)
            for batch in held.some(unchanged[:ATTENTION_PAIRS], ATTENTION_PAIRS):
                point |= attention(network, batch, augment, seed)
        return point

    def draw_views(self, path: Path, batch: Batch) -> None:
        """Draw pairs as they are stored and in their views of the first epoch."""
        write_augmented(path, batch, self.views(batch, 1))

    def draw_predictions(self, path: Path, title: str, batch: Batch, names: Sequence[str]) -> None:
        """Draw val pairs in their fixed views, with the network's maps."""
        views = prepare(batch, self.recipe.augment, self.seed, VALIDATION_EPOCH)
        network = self.network.eval()
        with torch.inference_mode():
            maps = network(views.prompt, views.query).sigmoid().squeeze(1).float()
        write_predictions(path, title, views, maps, names)
