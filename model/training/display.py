"""How training is doing while it runs: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 30.0


class Pace:
    """Pairs learned from, the time this took, and the part of it spent waiting for data; validation is left out."""

    def __init__(self) -> None:
        self.pairs = 0
        self.seconds = 0.0
        self.waited = 0.0

    def __str__(self) -> str:
        seconds = max(self.seconds, 1e-9)
        return f"{self.pairs / seconds:.1f} pairs/s, {self.waited / seconds:.0%} waiting for data"

    def waiting(self, batches: Iterable[T], busy: Callable[[], bool]) -> Iterator[T]:
        """Yield `batches` with the clock running; a batch that came while the device was still `busy` cost nothing."""
        coming = iter(batches)
        start = time.monotonic()
        while True:
            asked = time.monotonic()
            batch = next(coming, None)
            if batch is None:
                break
            now = time.monotonic()
            self.waited += 0.0 if busy() else now - asked
            self.seconds += now - start
            start = now
            yield batch
        self.seconds += time.monotonic() - start


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
