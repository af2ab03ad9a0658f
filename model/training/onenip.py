"""OneNIP as it learns (Gao, ECCV 2024, section 3; its released code): a normal image and its damaged twin, under a
normal prompt of the same group, are both to be rebuilt as the normal image.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from configs.errors import BadRequest
from configs.model import OneNIPModel
from configs.train import OneNIPTrain, OneNIPTrainParams
from model.encoders import read_torch
from model.onenip import (
    CHECKPOINT,
    CHECKPOINT_VERSION,
    JITTER,
    PREPROCESSING,
    Comparison,
    OneNIP,
    dice_loss,
    published_kind,
    want_encoder,
)
from model.pairs import PairDataset, Prepared, as_images
from model.training.devices import Devices, on_devices
from model.training.feed import Batch
from model.training.held import Held
from model.training.learner import Learned, Learner, split
from model.training.normals import Normals, features_of
from model.training.pixel_ap import Thinned, pixel_aps, thinned
from model.training.places import Places
from model.training.run import run_on
from model.training.sheets import write_augmented, write_predictions
from pipeline.spread import spread

STARTING_IMAGES = 64  # whose features the projections begin from
VALIDATION_EPOCH = 0  # of the draws; training counts from 1
FOUND = 0.5  # of the refined map; above it a pixel counts as found


@dataclass(frozen=True)
class Draws:
    """Of a batch."""

    prompts: list[int]  # normal images, see `Normals`
    noise: Tensor | None  # float32 (B, 3, C, h, w) on the CPU; see `OneNIP.draw_noise`


def train_onenip(params: OneNIPTrainParams, places: Places, code: str) -> None:
    """Train a OneNIP; see `model.training.run.run_on`."""
    on_devices(params.train.devices, partial(run_on, params, places, code, make_learner))


def make_learner(
    params: OneNIPTrainParams, training: PairDataset, validation: PairDataset, steps: int, devices: Devices
) -> "OneNIPLearner":
    """A new network of the parameters, about to learn.

    Raises:
        BadRequest: a group has no val pair, pairs have prompts of their own, or weights do not fit.
    """
    height, width = training[0]["mask"].shape
    network, published = _new_network(params.model, (height, width))
    if published and params.train.standardised_start:
        raise BadRequest(
            f"train.standardised_start is true, but {params.model.weights} is a published {published}, whose start that"
            " would undo; set it to false"
        )
    network = network.to(devices.device)
    keep = params.train.keep_features
    normals, held_back = (Normals(network, pairs, keep=keep) for pairs in (training, validation))
    lacking = sorted(set(normals.group_of_pairs) - set(held_back.group_of_pairs))
    if lacking:
        raise BadRequest(
            f"{training.root}: category {lacking[0]} has no val pair; raise index.val_share and run `dvc repro`"
        )
    return OneNIPLearner(network, params.train, params.seed, steps, devices, normals, held_back)


def _new_network(model: OneNIPModel, size: tuple[int, int]) -> tuple[OneNIP, str | None]:
    """A network with ImageNet weights or a file's, be it an encoder's or, which is then named, a published system's."""
    path = Path(model.weights)
    content = read_torch(path) if path.is_file() and path.suffix != ".safetensors" else {}
    published = published_kind(content)
    if published is None:
        return OneNIP(**model.arguments, size=size), None
    want_encoder(content, path)
    network = OneNIP(**{**model.arguments, "weights": "none"}, size=size, preprocessing=PREPROCESSING)
    network.load_published(content, path)
    return network, published


class OneNIPLearner(Learner[OneNIP, OneNIPTrain, Draws]):
    """A OneNIP; the loss of a batch is the mean over its pairs. For the other arguments see `Learner`.

    Args:
        normals: of the pairs that are learned from; prompts are drawn among them.
        held_back: those to validate on.
    """

    system = CHECKPOINT
    version = CHECKPOINT_VERSION

    def __init__(
        self,
        network: OneNIP,
        recipe: OneNIPTrain,
        seed: int,
        steps: int,
        devices: Devices,
        normals: Normals,
        held_back: Normals,
    ) -> None:
        learnable = [parameter for parameter in network.parameters() if parameter.requires_grad]
        super().__init__(network, recipe, seed, steps, devices, [{"params": learnable, "share": 1.0}])
        self.normals = normals
        self.held_back = held_back

    def start(self, training: PairDataset) -> None:
        """Let the projections begin from some normal images' features, where the recipe says so."""
        del training
        if self.recipe.standardised_start:
            places = spread(len(self.normals), STARTING_IMAGES)
            self.network.start_from(self.normals.features(places, self.devices.device))

    def draw(self, batch: Batch, epoch: int) -> Draws:
        """A prompt for each pair, and noise."""
        indices = batch["index"].tolist()
        rngs = [np.random.default_rng([self.seed, epoch, index]) for index in indices]
        prompts = self._prompts(self.normals, indices, rngs)
        noise = self.network.draw_noise(rngs) * (self.recipe.jitter / JITTER) if self.recipe.jitter else None
        return Draws(prompts, noise)

    def step(self, batch: Batch, draws: Draws, epoch: int, number: int, step: int) -> Learned:
        """Learn from this device's share of a batch; see `Learner.step`."""
        self._begin(epoch, number)
        indices, device = batch["index"].tolist(), self.devices.device
        every = torch.tensor(float(len(indices)), device=device)
        self.devices.add_up([every])
        of_pairs, loss = [], torch.zeros((), device=device)
        for part in split(len(indices), self.recipe.device_batch):
            normal = self.normals.features(self.normals.of_pairs[indices[part]].tolist(), device)
            prompt = self.normals.features(draws.prompts[part], device)
            damaged = (
                [features_of(self.network, as_images(batch["pair"][part, 1]))] if self.recipe.restoration else None
            )
            noise = None if draws.noise is None else draws.noise[part].to(device)
            with self.autocast():
                found = self.network.losses([normal], damaged, [prompt], batch["mask"][part].unsqueeze(1), noise)
            total = found.mse + self.recipe.dice_weight * found.dice
            own = total * (len(normal) / every)
            own.backward()  # type: ignore[no-untyped-call]
            loss += own.detach()
            inputs = [normal, prompt, *(damaged or ())]
            whole = torch.stack([features.isfinite().flatten(1).all(dim=1) for features in inputs]).all(dim=0)
            of_pairs.append(torch.where(whole, 0.0, torch.nan))
        self._update(loss, step)
        return Learned(loss, torch.cat(of_pairs))

    @torch.no_grad()  # not inference mode: features that are kept are learned from later
    def validate(self, held: Held) -> dict[str, float]:
        """What held-back normal images and their damaged twins lose, pixel AP of the twins, and false alarms.

        Prompts are those of training images. The scale of score maps is set by the normal images' errors on the way.
        """
        network, device = self.network.eval(), self.devices.device
        ends: list[Tensor] = []
        twins: list[tuple[Thinned, Thinned | None]] = []
        losses, alarms, seen = [], [], set[int]()
        for batch in held.all():
            indices = batch["index"].tolist()
            mask = batch["mask"].bool().unsqueeze(1)
            prompt = [self.normals.features(self._fixed_prompts(indices), device)]
            normal = self.held_back.features(self.held_back.of_pairs[indices].tolist(), device)
            damaged = features_of(network, as_images(batch["pair"][:, 1]))
            with self.autocast():
                of_normal = network.compare(prompt, [normal])
                of_twin = network.compare(prompt, [damaged])
            losses += self._losses(of_normal, of_twin, normal, mask)
            ends.append(torch.stack(of_normal.error.aminmax()))
            valid = torch.ones_like(mask)
            error, refined = (
                None if maps is None else thinned(maps, mask, valid, batch["kind"])
                for maps in (of_twin.error, of_twin.refined)
            )
            assert error is not None
            twins.append((error, refined))
            for row, image in enumerate(self.held_back.of_pairs[indices].tolist()):
                if of_normal.refined is not None and image not in seen:
                    seen.add(image)
                    found = of_normal.refined[row] > FOUND
                    alarms.append((float(found.any()), float(found.float().mean())))
        network.calibrate(ends)
        scored = [self._scored(error, refined) for error, refined in twins]
        point = {"val/loss": float(np.mean(losses)), "val/normaliser": float(network.normaliser)}
        point |= pixel_aps(scored, held.dataset.kind_names)
        if alarms:
            images, pixels = np.mean(alarms, axis=0).tolist()
            point |= {"val/unchanged/images": images, "val/unchanged/pixels": pixels}
        return point

    def draw_views(self, path: Path, batch: Batch) -> None:
        """Draw pairs, and their prompts of the first epoch."""
        write_augmented(path, batch, self._seen(batch, self.draw(batch, 1).prompts))

    @torch.no_grad()
    def draw_predictions(self, path: Path, title: str, batch: Batch, names: Sequence[str]) -> None:
        """Draw val pairs with their prompts and score maps; 1 is twice the scale that normal images set."""
        network = self.network.eval()
        views = self._seen(batch, self._fixed_prompts(batch["index"].tolist()))
        found = network.compare(network.encode(views.prompt), network.encode(views.query))
        maps = network.relative_map(found).clamp(0, 1).squeeze(1)
        write_predictions(path, title, views, maps, names)

    def _prompts(self, of: Normals, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> list[int]:
        """A training image for each pair of the data set of `of`."""
        how = self.recipe.prompts
        return [self.normals.draw(rng, of.group_of_pairs[index], how) for index, rng in zip(indices, rngs, strict=True)]

    def _fixed_prompts(self, indices: Sequence[int]) -> list[int]:
        """The prompts of val pairs, the same after each epoch."""
        rngs = [np.random.default_rng([self.seed, VALIDATION_EPOCH, index]) for index in indices]
        return self._prompts(self.held_back, indices, rngs)

    def _seen(self, batch: Batch, prompts: Sequence[int]) -> Prepared:
        """What the network sees of a batch: prompt and damaged image."""
        device = self.devices.device
        mask = batch["mask"].bool().unsqueeze(1)
        prompt, query = self.normals.images(prompts).to(device), as_images(batch["pair"][:, 1])
        return Prepared(prompt, query, mask, torch.ones_like(mask))

    def _losses(self, of_normal: Comparison, of_twin: Comparison, normal: Tensor, mask: Tensor) -> list[float]:
        """What each pair loses, as in training but for the noise."""
        halves = [of_normal, of_twin] if self.recipe.restoration else [of_normal]
        each = torch.stack([(found.reconstruction - normal).square().mean(dim=(1, 2, 3)) for found in halves]).mean(0)
        if of_normal.refined is not None and of_twin.refined is not None:
            clean, damaged = torch.zeros_like(mask).float(), mask.float()
            dice = (dice_loss(of_normal.refined, clean) + dice_loss(of_twin.refined, damaged)) / 2
            each = each + self.recipe.dice_weight * dice
        return [float(value) for value in each]

    def _scored(self, error: Thinned, refined: Thinned | None) -> Thinned:
        """Score maps of thinned errors and refined maps; as `OneNIP.score_map`."""
        if refined is None or not self.network.alpha:
            return error
        alpha, c = self.network.alpha, float(self.network.normaliser)
        scores = (1 - alpha) * error.scores + alpha * c * refined.scores
        return Thinned(scores, error.labels, error.valid, error.kind)
