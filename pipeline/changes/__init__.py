"""What is done to an image: each kind of change drawn as a record, and made from it."""

from pipeline.changes.fillers import LAMA_LIBRARIES
from pipeline.changes.inpaint import build_inpainted_shard, plan_inpainted
from pipeline.changes.quality import (
    AREA_BINS,
    PUBLISHED_AREAS,
    PairQuality,
    area_histogram,
    measure_pair,
    sample_pairs,
    summarise_quality,
)
from pipeline.changes.remake import remaker_for
from pipeline.changes.synth import build_pair_shard, check_defects, plan_pairs

__all__ = [
    "AREA_BINS",
    "LAMA_LIBRARIES",
    "PUBLISHED_AREAS",
    "PairQuality",
    "area_histogram",
    "build_inpainted_shard",
    "build_pair_shard",
    "check_defects",
    "measure_pair",
    "plan_inpainted",
    "plan_pairs",
    "remaker_for",
    "sample_pairs",
    "summarise_quality",
]
