"""How long the steps of a job take: seconds added up in this process, by the step's name. Nothing is made by it."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

_SPENT: Counter[str] = Counter()  # nanoseconds


@contextmanager
def step(name: str) -> Iterator[None]:
    """Count the time until the block ends as spent on a step."""
    start = time.perf_counter_ns()
    try:
        yield
    finally:
        _SPENT[name] += time.perf_counter_ns() - start


def take() -> dict[str, float]:
    """Seconds by step since the last call."""
    spent = {name: nanoseconds / 1e9 for name, nanoseconds in _SPENT.items()}
    _SPENT.clear()
    return spent
