"""Anomaly maps and masks in, numbers out; no torch."""

from model.scores.curves import Curves
from model.scores.image_score import POOLED_PX, image_scores
from model.scores.metrics import BLOCK, NAMES, Aupro, Maps, Tally, average_precision, score
from model.scores.results import ALL, BENCHMARK, MEAN, Row, over_categories, over_prompts, pixel_level

__all__ = [
    "ALL",
    "BENCHMARK",
    "BLOCK",
    "MEAN",
    "NAMES",
    "POOLED_PX",
    "Aupro",
    "Curves",
    "Maps",
    "Row",
    "Tally",
    "average_precision",
    "image_scores",
    "over_categories",
    "over_prompts",
    "pixel_level",
    "score",
]
