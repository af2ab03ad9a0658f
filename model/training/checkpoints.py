"""The checkpoints of a training run: whole or not there, and enough to go on from."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from configs.errors import Failure
from model.encoders import STATE_PREFIX, read_torch
from model.training.run_state import RunState


class Learns(Protocol):
    """What a checkpoint is of."""

    @property
    def system(self) -> str:
        """The key under which stands what is not a tensor."""

    @property
    def network(self) -> nn.Module:
        """Whose weights are kept."""

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Whose state is kept, to go on."""


BEST, LAST = "best.ckpt", "last.ckpt"


def save_last(out: Path, learner: Learns, state: RunState, facts: Mapping[str, Any]) -> None:
    """Write last.ckpt, everything that a run needs to go on; a Failure where it cannot be written."""
    more = {"optimizer": learner.optimizer.state_dict(), "progress": asdict(state)}
    _write_whole(out / LAST, _content(learner, state, facts) | more)


def save_best(out: Path, learner: Learns, state: RunState, facts: Mapping[str, Any]) -> None:
    """Write best.ckpt, the weights and what made them; a Failure where it cannot be written."""
    _write_whole(out / BEST, _content(learner, state, facts))


def read_state(out: Path) -> RunState:
    """How far the run in `out` has come: not at all where it has no checkpoint yet."""
    path = out / LAST
    return RunState(**read_torch(path)["progress"]) if path.is_file() else RunState()


def restore(out: Path, learner: Learns) -> None:
    """Give `learner` the weights and the optimiser's state of last.ckpt."""
    content = read_torch(out / LAST)
    weights = {key.removeprefix(STATE_PREFIX): value for key, value in content["state_dict"].items()}
    learner.network.load_state_dict(weights)
    learner.optimizer.load_state_dict(content["optimizer"])


def _content(learner: Learns, state: RunState, facts: Mapping[str, Any]) -> dict[str, Any]:
    weights = {f"{STATE_PREFIX}{key}": value for key, value in learner.network.state_dict().items()}
    return {"state_dict": weights, learner.system: {**facts, "history": state.history}}


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write aside and rename, each on disk before the next: after a power cut, too, the file is the old or the new.

    Raises:
        Failure: the disk is full, or whatever else forbids it. The old file stays, and nothing beside it.
    """
    aside = path.with_name(f"{path.name}.partial")
    try:
        with aside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, RuntimeError) as error:
        with suppress(OSError):
            aside.unlink()
        # Where writing fails halfway torch complains of its own archive, and the reason is what it complained over.
        reason = error if isinstance(error, OSError) else error.__context__
        if not isinstance(reason, OSError):
            raise
        raise Failure(
            f"{path}: {_bytes(content):,} bytes cannot be written: {reason.strerror}; make room, or see to the folder,"
            " and run the same command again: what was written before is kept"
        ) from None


def _bytes(content: object) -> int:
    """How much tensors there are in dictionaries and lists of them: nearly all of a checkpoint."""
    if isinstance(content, Tensor):
        return content.nbytes
    if isinstance(content, Mapping):
        return sum(map(_bytes, content.values()))
    return sum(map(_bytes, content)) if isinstance(content, list) else 0
