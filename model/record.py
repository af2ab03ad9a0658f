"""What training leaves behind while it runs: checkpoints, curves, and a line an epoch."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from dvclive.live import Live
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

BEST, LAST = "best.ckpt", "last.ckpt"
HIGHER_IS_BETTER = {"val/loss": False, "val/pixel_ap/all": True}
KIND_PREFIX = "val/pixel_ap/"


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that appear whole or not at all; Lightning's own way copies when /tmp is another file system."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write aside, then rename."""
        assert storage_options is None
        aside = Path(f"{path}.partial")
        torch.save(checkpoint, aside)
        aside.replace(path)


class Record(Checkpoint):
    """After every epoch: a point on each curve, the best checkpoint if it is that, the last one, and a line.

    Args:
        out: folder of best.ckpt (weights only) and last.ckpt (also the optimiser's state, to go on from).
        curves: folder of DVCLive's tables.
        select_by: the value that "best" goes by.
        pairs: of the training split, for the rate.
    """

    def __init__(self, out: Path, curves: Path, select_by: str, pairs: int) -> None:
        self.out = out
        self.curves = curves
        self.select_by = select_by
        self.pairs = pairs
        self.seconds = 0.0  # of training, validation apart
        self.trained = 0  # pairs, in this process
        self._start = 0.0

    @property
    def rate(self) -> float:
        """Pairs per second of training."""
        return self.trained / max(self.seconds, 1e-9)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Draw the curves as far as the checkpoint knows them: what a killed run logged past it is drawn again."""
        del trainer
        self._live = write_curves(self.curves, pl_module.history)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        del trainer, pl_module
        self._start = time.monotonic()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Stop it: validation closes the epoch."""
        del trainer, pl_module
        self.seconds += time.monotonic() - self._start
        self.trained += self.pairs

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write everything; the last checkpoint comes last, so a kill in between repeats the epoch."""
        history = pl_module.history
        add_point(self._live, len(history), history[-1])
        if best_epoch(history, self.select_by) == len(history):
            trainer.save_checkpoint(self.out / BEST, weights_only=True)
        trainer.save_checkpoint(self.out / LAST, weights_only=False)
        pl_module.print(f"epoch {len(history)}/{trainer.max_epochs}: {describe(history[-1])}, {self.rate:.1f} pairs/s")


def best_epoch(history: Sequence[dict[str, float]], select_by: str) -> int:
    """The epoch, from 1, of the best value; the first of equals."""
    sign = 1 if HIGHER_IS_BETTER[select_by] else -1
    values = [sign * point[select_by] for point in history]
    return values.index(max(values)) + 1


def describe(point: dict[str, float]) -> str:
    """An epoch's point in words."""
    kinds = ", ".join(
        f"{name.removeprefix(KIND_PREFIX)} {value:.3f}"
        for name, value in point.items()
        if name.startswith(KIND_PREFIX) and name != "val/pixel_ap/all"
    )
    losses = f"train loss {point['train/loss']:.4f}, val loss {point['val/loss']:.4f}"
    return f"{losses}, val pixel AP {point['val/pixel_ap/all']:.3f} ({kinds})"


def write_curves(folder: Path, history: Sequence[dict[str, float]]) -> Live:
    """Write DVCLive's tables anew from a history; the result takes further points."""
    live = Live(str(folder), save_dvc_exp=False, report=None, dvcyaml=None)
    for epoch, point in enumerate(history, start=1):
        add_point(live, epoch, point)
    return live


def add_point(live: Live, epoch: int, point: dict[str, float]) -> None:
    """Add an epoch to the tables and to metrics.json. `Live.end` is never called: it would touch git and DVC."""
    live.step = epoch
    for name, value in point.items():
        live.log_metric(name, value)
    live.make_summary()  # type: ignore[no-untyped-call]
