"""Data drawn by code, so that everything runs without a download: photographs in COCO's format, and a benchmark."""

from pipeline.embedded.parts import PART_CATEGORIES, plan_parts, write_parts
from pipeline.embedded.scenes import write_scenes

__all__ = [
    "PART_CATEGORIES",
    "plan_parts",
    "write_parts",
    "write_scenes",
]
