"""One progress display for all long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 10.0


def track(
    items: Iterable[T], description: str, total: int, done: int = 0, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Yield `items` while showing how many of `total` have gone by, their rate and the time left.

    An item counts as `size(item)`: a shard as its pairs. What was `done` before this call (a resumed run) counts as
    progress but not in the rate.
    """
    show = _bar if sys.stderr.isatty() else _lines
    yield from show(items, description, total, done, size)


def _bar(items: Iterable[T], description: str, total: int, done: int, size: Callable[[T], int]) -> Iterator[T]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
    )
    start, count = time.monotonic(), 0
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=total, completed=done, rate="", left="")
        for item in items:
            yield item
            count += size(item)
            left = _left(total - done - count, count, start)
            progress.update(task, completed=done + count, rate=_rate(count, start), left=left)


def _lines(items: Iterable[T], description: str, total: int, done: int, size: Callable[[T], int]) -> Iterator[T]:
    start = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += size(item)
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            line = f"{done + count} of {total}, {_rate(count, start)}, {_left(total - done - count, count, start)}"
            print(f"{description}: {line}", file=sys.stderr, flush=True)
    print(f"{description}: {done + count} of {total} done, {_rate(count, start)}", file=sys.stderr, flush=True)


def _left(remaining: int, count: int, start: float) -> str:
    seconds = round(remaining * (time.monotonic() - start) / max(count, 1))
    return f"{timedelta(seconds=seconds)} left"


def _rate(count: int, start: float) -> str:
    return f"{count / max(time.monotonic() - start, 1e-9):.1f}/s"
