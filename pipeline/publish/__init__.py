"""A data set given away: in forms that other libraries open, with its card, its digests and its rights."""

from pipeline.publish.card import write_card
from pipeline.publish.charts import draw_areas, draw_visible
from pipeline.publish.coco import write_instances
from pipeline.publish.croissant import write_croissant
from pipeline.publish.shard import (
    FORMS,
    INSTANCES,
    NOTES,
    Exported,
    ExportJob,
    export_shard,
    finished,
    made_from,
    noted,
    sha256_of,
)
from pipeline.publish.summary import Summary, summarise

__all__ = [
    "FORMS",
    "INSTANCES",
    "NOTES",
    "ExportJob",
    "Exported",
    "Summary",
    "draw_areas",
    "draw_visible",
    "export_shard",
    "finished",
    "made_from",
    "noted",
    "sha256_of",
    "summarise",
    "write_card",
    "write_croissant",
    "write_instances",
]
