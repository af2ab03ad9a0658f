"""One progress display for all long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(items: Iterable[T], description: str, total: int, done: int = 0) -> Iterator[T]:
    """Yield `items` while showing how many of `total` have gone by, their rate and the time left.

    `done` items were finished before this call (a resumed run): they count as progress but not in the rate.
    """
    if sys.stderr.isatty():
        yield from _bar(items, description, total, done)
    else:
        yield from _lines(items, description, total, done)


def _bar(items: Iterable[T], description: str, total: int, done: int) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=total, completed=done, rate="")
        for count, item in enumerate(items, start=1):
            yield item
            progress.update(task, completed=done + count, rate=_rate(count, start))


def _lines(items: Iterable[T], description: str, total: int, done: int) -> Iterator[T]:
    start = last = time.monotonic()
    count = 0
    for count, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"{description}: {done + count} of {total}, {_rate(count, start)}", file=sys.stderr, flush=True)
    print(f"{description}: {done + count} of {total} done, {_rate(count, start)}", file=sys.stderr, flush=True)


def _rate(count: int, start: float) -> str:
    return f"{count / max(time.monotonic() - start, 1e-9):.1f}/s"
