"""Training from pair shards to checkpoints: repeatable by seed, and resumed from the last finished epoch."""

import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import timm
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch import nn
from torch.utils.data import DataLoader, Sampler

from configs.train import Train, TrainParams
from model.lightning_module import ChangeSegmentation
from model.metauas import CHECKPOINT, CHECKPOINT_VERSION, MetaUAS
from model.pairs import Pair, PairDataset
from model.record import BEST, LAST, Record, WholeFiles, best_epoch, describe, write_curves
from model.tensors import read_torch

SELECT_BY = {"val_loss": "val/loss", "val_pixel_ap": "val/pixel_ap/all"}


class Shuffle(Sampler[int]):
    """Every index once, in an order that depends on `[seed, epoch]` alone; Lightning calls `set_epoch`."""

    def __init__(self, length: int, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        yield from np.random.default_rng([self.seed, self.epoch]).permutation(self.length).tolist()


def train(params: TrainParams, pairs: Path, out: Path, curves: Path, code: str) -> None:
    """Train as `params.model`, `params.train` and `params.seed` say, on the shards in `pairs`.

    `out` gets best.ckpt and last.ckpt, `curves` DVCLive's tables. Where `out` holds a run of the same fingerprint it
    goes on after that run's last epoch, to the same result as if it had never stopped; a finished one is left as it is.
    `code` is the digest of the code that trains: another one is another run.

    Raises:
        BadRequest: the parameters do not go together, or the shards are not there.
        Failure: the loss is not finite, or a split has nothing to learn from.
        KeyboardInterrupt: it was interrupted; the last finished epoch is kept.
    """
    training, validation = PairDataset(pairs, "train"), PairDataset(pairs, "val")
    out.mkdir(parents=True, exist_ok=True)
    history = _history_to_go_on_from(out, fingerprint(params, training.digest, code))
    select_by = SELECT_BY[params.train.select_by]
    if len(history) == params.train.epochs:
        write_curves(curves, history)
        print(f"train: {out} holds this run, finished; nothing to do. {_best(history, select_by)}")
        return
    if history:
        print(f"train: going on after epoch {len(history)} of {out / LAST}")
    torch.manual_seed(params.seed)
    network = MetaUAS(**params.model.model_dump())
    print(f"train: {len(training)} pairs, {len(validation)} to validate; {count_parameters(network)}", flush=True)
    learner = ChangeSegmentation(network, params.train, params.seed, _facts(params, training, network, code))
    record = Record(out, curves, select_by, len(training))
    trainer = _trainer(params.train, record)
    _fit(trainer, learner, _loaders(training, validation, params), resume=out / LAST if history else None)
    print(
        f"train: {record.rate:.1f} pairs/s in {record.seconds:.0f} s of training. {_best(learner.history, select_by)}"
    )


def fingerprint(params: TrainParams, pairs_digest: str, code: str) -> str:
    """Hexadecimal sha256 of everything that the result depends on, the content of a weights file included."""
    weights = Path(params.model.weights)
    content = {
        "model": params.model.model_dump(),
        "train": params.train.model_dump(),
        "seed": params.seed,
        "pairs": pairs_digest,
        "code": code,
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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
        "versions": {"torch": str(torch.__version__), "timm": timm.__version__, "lightning": L.__version__},
    }


def count_parameters(network: nn.Module) -> str:
    """How many parameters there are and how many learn, in words."""
    everything = sum(parameter.numel() for parameter in network.parameters())
    learnable = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return f"{everything:,} parameters, {learnable:,} learn"


def _history_to_go_on_from(out: Path, wanted: str) -> list[dict[str, float]]:
    """The history of the run in `out`; empty, and the run gone, where it is another run's."""
    last = out / LAST
    if not last.is_file():
        return []
    said = read_torch(last).get(CHECKPOINT)
    history: list[dict[str, float]] = said["history"] if isinstance(said, Mapping) else []
    if isinstance(said, Mapping) and said["fingerprint"] == wanted:
        return history
    print(f"train: {last} is of other parameters, pairs, seed or code; starting anew")
    for stale in (last, out / BEST):
        stale.unlink(missing_ok=True)
    return []


def _loaders(
    training: PairDataset, validation: PairDataset, params: TrainParams
) -> tuple[DataLoader[Pair], DataLoader[Pair]]:
    workers = params.train.loader_workers
    options: dict[str, Any] = {
        "batch_size": params.train.batch_size,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        # A fork would copy the Rust decoder's threads in whatever state they are.
        "multiprocessing_context": "forkserver" if workers else None,
        "pin_memory": torch.cuda.is_available(),
    }
    shuffled = DataLoader(training, sampler=Shuffle(len(training), params.seed), **options)
    return shuffled, DataLoader(validation, shuffle=False, **options)


def _trainer(recipe: Train, record: Record) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # it announces devices and products
    terminal = sys.stderr.isatty()
    return L.Trainer(
        max_epochs=recipe.epochs,
        devices=1,
        gradient_clip_val=recipe.clip_norm,
        callbacks=[record, RichProgressBar()] if terminal else [record],
        plugins=[WholeFiles()],
        logger=False,
        enable_progress_bar=terminal,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _fit(
    trainer: L.Trainer,
    learner: ChangeSegmentation,
    loaders: tuple[DataLoader[Pair], DataLoader[Pair]],
    resume: Path | None,
) -> None:
    with warnings.catch_warnings():
        # Pairs are read in less than a millisecond; Lightning would have a process for every core.
        warnings.filterwarnings("ignore", message=".*does not have many workers")
        # A frozen encoder is in evaluation mode, as it should be.
        warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode")
        # Lightning 2.6 walks loaders with a class that torch 2.13 is about to remove.
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
        try:
            trainer.fit(learner, *loaders, ckpt_path=resume, weights_only=True)
        except SystemExit:
            # Lightning makes of Ctrl-C an exit with status 1, as if the work had failed.
            raise KeyboardInterrupt from None


def _best(history: list[dict[str, float]], select_by: str) -> str:
    best = best_epoch(history, select_by)
    return f"Best epoch {best} of {len(history)}: {describe(history[best - 1])}"
