"""What training leaves behind while it runs: checkpoints that are whole or not there, and curves."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from dvclive.live import Live

from model.learner import Learner
from model.metauas import CHECKPOINT, STATE_PREFIX
from model.tensors import read_torch

BEST, LAST = "best.ckpt", "last.ckpt"
HIGHER_IS_BETTER = {"val/loss": False, "val/pixel_ap/all": True}
KIND_PREFIX = "val/pixel_ap/"
UNCHANGED_IMAGES = "val/unchanged/images"

History = list[dict[str, float]]


@dataclass
class Progress:
    """How far a run has come; with the weights and the optimiser's state, all that it needs to go on."""

    step: int = 0  # batches learned from, over the whole run
    batch: int = 0  # batches learned from in the epoch that runs
    pairs: int = 0  # in those, on all devices
    loss: float = 0.0  # sum over those, each batch weighted by its pairs
    history: History = field(default_factory=list)  # a point an epoch, from the first

    @property
    def epoch(self) -> int:
        """The epoch that runs, from 1."""
        return len(self.history) + 1

    def add(self, loss: float, pairs: int) -> None:
        """Count a batch."""
        self.step += 1
        self.batch += 1
        self.pairs += pairs
        self.loss += loss * pairs

    def close_epoch(self, point: Mapping[str, float]) -> None:
        """Count an epoch; `point` is what validation found."""
        self.history.append(dict(sorted({"train/loss": self.loss / self.pairs, **point}.items())))
        self.batch, self.pairs, self.loss = 0, 0, 0.0


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


def best_epoch(history: Sequence[Mapping[str, float]], select_by: str) -> int:
    """The epoch, from 1, of the best value; the first of equals."""
    sign = 1 if HIGHER_IS_BETTER[select_by] else -1
    values = [sign * point[select_by] for point in history]
    return values.index(max(values)) + 1


def describe(point: Mapping[str, float]) -> str:
    """An epoch's point in words."""
    kinds = ", ".join(
        f"{name.removeprefix(KIND_PREFIX)} {value:.3f}"
        for name, value in point.items()
        if name.startswith(KIND_PREFIX) and name != "val/pixel_ap/all"
    )
    losses = f"train loss {point['train/loss']:.4f}, val loss {point['val/loss']:.4f}"
    false = f"false alarms on {point[UNCHANGED_IMAGES]:.0%} of unchanged pairs"
    return f"{losses}, val pixel AP {point['val/pixel_ap/all']:.3f} ({kinds}), {false}"


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> Live:
    """Write DVCLive's tables anew from a history; the result takes further points."""
    live = Live(str(folder), save_dvc_exp=False, report=None, dvcyaml=None)
    for epoch, point in enumerate(history, start=1):
        add_point(live, epoch, point)
    return live


def add_point(live: Live, epoch: int, point: Mapping[str, float]) -> None:
    """Add an epoch to the tables and to metrics.json. `Live.end` is never called: it would touch git and DVC."""
    live.step = epoch
    for name, value in point.items():
        live.log_metric(name, value)
    live.make_summary()  # type: ignore[no-untyped-call]


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
