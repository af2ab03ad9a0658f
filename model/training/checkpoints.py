"""The checkpoints of a training run: whole or not there, and enough to go on from."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model.encoders import read_torch
from model.metauas import CHECKPOINT, STATE_PREFIX
from model.training.learner import Learner
from model.training.progress import Progress

BEST, LAST = "best.ckpt", "last.ckpt"


def save_last(out: Path, learner: Learner, progress: Progress, facts: Mapping[str, Any]) -> None:
    """Write last.ckpt: everything that a run needs to go on."""
    state = {"optimizer": learner.optimizer.state_dict(), "progress": asdict(progress)}
    _write_whole(out / LAST, _content(learner, progress, facts) | state)


def save_best(out: Path, learner: Learner, progress: Progress, facts: Mapping[str, Any]) -> None:
    """Write best.ckpt: the weights and what made them."""
    _write_whole(out / BEST, _content(learner, progress, facts))


def read_progress(out: Path, fingerprint: str) -> Progress:
    """How far the run of this fingerprint in `out` has come: not at all where there is none, or another's."""
    path = out / LAST
    if not path.is_file():
        return Progress()
    content = read_torch(path)
    said = content.get(CHECKPOINT)
    if not isinstance(said, Mapping) or said.get("fingerprint") != fingerprint:
        return Progress()
    return Progress(**content["progress"])


def restore(out: Path, learner: Learner) -> None:
    """Give `learner` the weights and the optimiser's state of last.ckpt."""
    content = read_torch(out / LAST)
    state = {key.removeprefix(STATE_PREFIX): value for key, value in content["state_dict"].items()}
    learner.network.load_state_dict(state)
    learner.optimizer.load_state_dict(content["optimizer"])


def _content(learner: Learner, progress: Progress, facts: Mapping[str, Any]) -> dict[str, Any]:
    state = {f"{STATE_PREFIX}{key}": value for key, value in learner.network.state_dict().items()}
    return {"state_dict": state, CHECKPOINT: {**facts, "history": progress.history}}


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write aside and rename, each on disk before the next: after a power cut, too, the file is the old or the new."""
    aside = path.with_name(f"{path.name}.partial")
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
