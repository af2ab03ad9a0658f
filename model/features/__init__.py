"""Features that CLIP's frozen image tower makes of images, kept in shards, and tasks drawn from them."""

from model.features.episodes import FeatureSet, check_tasks, draw_episode, draw_places
from model.features.extract import extract_shard, plan_features
from model.features.items import made_with, of_benchmark, of_pairs, without_small_tasks

__all__ = [
    "FeatureSet",
    "check_tasks",
    "draw_episode",
    "draw_places",
    "extract_shard",
    "made_with",
    "of_benchmark",
    "of_pairs",
    "plan_features",
    "without_small_tasks",
]
