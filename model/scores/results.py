"""Rows of results: the scores of a method on a part of a set, once or over several prompts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from model.scores.metrics import Scores

BENCHMARK = "benchmark"  # name of the set of a benchmark's images
MEAN = "mean"  # name of the row over all categories
ALL = "all"  # name of the row over all kinds of pairs
FIELDS = tuple(field.name for field in fields(Scores))


@dataclass(frozen=True)
class Row:
    """One line of the results: a method on a part of a set."""

    set_name: str
    category: str
    method: str
    images: int
    scores: Scores  # over several prompts, their mean
    deviation: Scores | None = None  # sample standard deviation over the prompts; None for one


def over_prompts(runs: Sequence[Row]) -> Row:
    """One row of the same part and method under several prompts: mean and sample standard deviation."""
    if len(runs) == 1:
        return runs[0]
    scores = [row.scores for row in runs]
    return replace(runs[0], scores=_each(scores, 0), deviation=_each(scores, 1))


def over_categories(rows: Sequence[Row]) -> Row:
    """The plain mean over categories; NaN if a category's score is undefined."""
    scores = _each([row.scores for row in rows], 0)
    return replace(rows[0], category=MEAN, images=sum(row.images for row in rows), scores=scores)


def pixel_level(rows: Sequence[Row]) -> list[Row]:
    """The rows without image-level scores: nearly every pair is changed, so telling images apart means nothing."""
    undefined = {name: math.nan for name in FIELDS if name.startswith("i_")}
    return [replace(row, scores=replace(row.scores, **undefined)) for row in rows]


def _each(scores: Sequence[Scores], moment: int) -> Scores:
    values = np.array([[getattr(one, name) for name in FIELDS] for one in scores])
    return Scores(*(values.std(axis=0, ddof=1) if moment else values.mean(axis=0)).tolist())
