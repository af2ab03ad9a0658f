"""How training is doing while it runs: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 30.0
KIND_PREFIX = "val/pixel_ap/"


class Pace:
    """Pairs learned from, the time this took, and the part of it spent waiting for data; validation is left out."""

    def __init__(self) -> None:
        self.pairs = 0
        self.seconds = 0.0
        self.waited = 0.0
        self._last = 0.0

    def __str__(self) -> str:
        seconds = max(self.seconds, 1e-9)
        return f"{self.pairs / seconds:.1f} pairs/s, {self.waited / seconds:.0%} waiting for data"

    def start(self) -> None:
        """Let the clock run."""
        self._last = time.monotonic()

    def lap(self, *, waited: bool = False) -> None:
        """Count the time since the last lap, as spent waiting for data or not."""
        now = time.monotonic()
        self.seconds += now - self._last
        self.waited += now - self._last if waited else 0.0
        self._last = now


class Display:
    """Shows one epoch: how many pairs of it have gone by, the mean loss so far, the pace and the time left."""

    def __init__(self, description: str, pairs: int, *, shown: bool) -> None:
        self.description = description
        self.pairs = pairs
        self.shown = shown
        self._last_line = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeRemainingColumn(),
            disable=not (shown and sys.stderr.isatty()),
            transient=True,
        )
        self._task = self._bar.add_task(description, total=pairs, said="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, loss: float, pace: Pace) -> None:
        """Show that `done` pairs of the epoch have gone by."""
        said = f"loss {loss:.4f}, {pace}"
        self._bar.update(self._task, completed=done, said=said)
        if self.shown and self._bar.disable and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(f"{self.description}: {done} of {self.pairs} pairs, {said}", file=sys.stderr, flush=True)


def describe_epoch(point: Mapping[str, float]) -> str:
    """An epoch's point in words."""
    kinds = ", ".join(
        f"{name.removeprefix(KIND_PREFIX)} {value:.3f}"
        for name, value in point.items()
        if name.startswith(KIND_PREFIX) and name != "val/pixel_ap/all"
    )
    losses = f"train loss {point['train/loss']:.4f}, val loss {point['val/loss']:.4f}"
    words = f"{losses}, val pixel AP {point['val/pixel_ap/all']:.3f} ({kinds})"
    if "val/unchanged/images" not in point:  # of a network that gives no probabilities
        return words
    return f"{words}, false alarms on {point['val/unchanged/images']:.0%} of unchanged pairs"
