"""Training from pair shards to checkpoints: repeatable by seed, and resumed where it was killed."""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.train import WITHOUT_EFFECT, TrainParams
from model.metauas import CHECKPOINT_VERSION, MetaUAS
from model.training.checkpoints import BEST, LAST, read_progress, restore
from model.training.devices import Devices, on_devices
from model.training.feed import Feed
from model.training.learner import Learner
from model.training.loop import Loop
from model.training.pairs import PairDataset
from model.training.progress import Progress
from pipeline.spread import spread

WHITENING_PAIRS = 64  # at 128 px they show the deepest level a thousand places
LIBRARIES = ("torch", "timm", "kornia", "numpy", "zarr")


def train(params: TrainParams, pairs: Path, out: Path, curves: Path, code: str) -> None:
    """Train as `params.model`, `params.train` and `params.seed` say, on the shards in `pairs`.

    `out` gets best.ckpt and last.ckpt, `curves` DVCLive's tables and a folder of pictures. Where `out` holds a run of
    the same fingerprint it goes on after that run's last checkpoint, to the same result as if it had never stopped; a
    finished one is left as it is. `code` is the digest of the code that trains: another one is another run.

    Raises:
        BadRequest: the parameters do not go together, or with the machine, or the shards are not there.
        Failure: the loss is not finite, a split has nothing to learn from, a checkpoint finds no room, or one of
            several devices was killed.
    """
    on_devices(params.train.devices, partial(_train, params, pairs, out, curves, code))


def _train(params: TrainParams, pairs: Path, out: Path, curves: Path, code: str, devices: Devices) -> None:
    """Train as one of several devices."""
    recipe = params.train
    training, validation = PairDataset(pairs, "train"), PairDataset(pairs, "val")
    feed = Feed(
        training,
        recipe.batch_size,
        buffer=recipe.shuffle_pairs,
        seed=params.seed,
        workers=recipe.loader_workers,
        ranks=devices.count,
        rank=devices.rank,
    )
    steps = count_steps(feed.batch_sizes, recipe.epochs, recipe.max_pairs)
    out.mkdir(parents=True, exist_ok=True)
    progress = read_progress(out, fingerprint(params, training.digest, code))
    devices.meet()  # all have read it before the first one changes it
    if devices.leads:
        _announce(out, progress)
    torch.manual_seed(params.seed)
    network = MetaUAS(**params.model.model_dump()).to(devices.device)
    if recipe.whiten_alignment and not progress.step and devices.leads:
        network.whiten_alignment(_originals(training))
    devices.share(network.state_dict().values())  # machines may differ in a last digit
    facts = _facts(params, training, network, code)
    learner = Learner(network, recipe, params.seed, steps, devices)
    if progress.step:
        restore(out, learner)
    loop = Loop(learner, feed, validation, progress, out, curves, facts)
    if devices.leads and not loop.finished:
        print(f"train: {len(training)} pairs, {len(validation)} to validate; {count_parameters(network)}", flush=True)
    loop.run()


def count_steps(sizes: Sequence[int], epochs: int, max_pairs: int | None) -> int:
    """How many batches a run has, whose epochs have batches of `sizes`: all, or until `max_pairs` are reached."""
    if max_pairs is None:
        return epochs * len(sizes)
    whole, left = divmod(max_pairs, sum(sizes))
    rest = int(np.searchsorted(np.cumsum(sizes), left)) + 1 if left else 0
    return min(epochs * len(sizes), whole * len(sizes) + rest)


def fingerprint(params: TrainParams, pairs_digest: str, code: str) -> str:
    """Hexadecimal sha256 of everything that the result depends on, the content of a weights file included."""
    weights = Path(params.model.weights)
    content = {
        "model": params.model.model_dump(),
        "train": params.train.model_dump(exclude=set(WITHOUT_EFFECT)),
        "seed": params.seed,
        "pairs": pairs_digest,
        "code": code,
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def count_parameters(network: nn.Module) -> str:
    """How many parameters there are and how many learn, in words."""
    everything = sum(parameter.numel() for parameter in network.parameters())
    learnable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return f"{everything:,} parameters, {learnable:,} learn"


def _originals(training: PairDataset) -> Tensor:
    """Some unchanged images of the training pairs, evenly spread: float32 (B, 3, H, W) in [0, 1]."""
    places = spread(len(training), WHITENING_PAIRS)
    return torch.stack([training[place]["pair"][0] for place in places]).permute(0, 3, 1, 2).float() / 255


def _announce(out: Path, progress: Progress) -> None:
    """Say where a run starts; what another run left is cleared away."""
    last = out / LAST
    if progress.step:
        place = f"batch {progress.batch} of epoch {progress.epoch}" if progress.batch else f"epoch {progress.epoch - 1}"
        print(f"train: going on after {place} of {last}")
    elif last.is_file():
        print(f"train: {last} is of other parameters, pairs, seed or code; starting anew")
        for stale in (last, out / BEST):
            stale.unlink(missing_ok=True)


def _facts(params: TrainParams, training: PairDataset, network: MetaUAS, code: str) -> dict[str, Any]:
    """What a checkpoint says of itself, in plain values only: it is read without running code from it."""
    return {
        "version": CHECKPOINT_VERSION,
        "network": network.arguments,
        "size": list(training[0]["mask"].shape),
        "fingerprint": fingerprint(params, training.digest, code),
        "code": code,
        "seed": params.seed,
        "pairs": training.digest,
        "model": params.model.model_dump(),
        "train": params.train.model_dump(),
        "versions": {library: version(library) for library in LIBRARIES},
    }
