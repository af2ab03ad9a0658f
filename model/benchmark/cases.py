"""How well single queries went, and which of them are worth a look."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from model.benchmark.methods import Method
from model.benchmark.prompt_choice import Prompts
from model.benchmark.protocols import Seen
from model.layouts import Category
from model.scores import Maps, average_precision


@dataclass(frozen=True)
class Case:
    """How well one query went: the average precision of its pixels, or of a normal one 1 - its score."""

    rating: float
    category: Category
    place: int
    method: Method
    prompts: Prompts

    @property
    def is_anomalous(self) -> bool:
        """Whether its rating is an average precision."""
        return self.category.queries[self.place].is_anomalous


def rate(shown: Maps, seen: Seen, score: float, *, is_anomalous: bool) -> float:
    """Rate the map of one query, whose score is `score`; NaN where its truth is not known, or a small mask vanished."""
    if is_anomalous:
        return average_precision(shown, seen.mask) if seen.known else float("nan")
    return 1 - score


def best_and_worst(cases: Sequence[Case], count: int) -> dict[str, list[Case]]:
    """The best found anomalies; the worst found ones with the loudest false alarms: `count` each, by title."""
    rated = sorted((case for case in cases if not np.isnan(case.rating)), key=lambda case: case.rating)
    anomalous = [case for case in rated if case.is_anomalous]
    normal = [case for case in rated if not case.is_anomalous]
    worst = anomalous[: ceil(count / 2)] + normal[: count // 2]
    return {title: some for title, some in (("best cases", anomalous[::-1][:count]), ("worst cases", worst)) if some}
