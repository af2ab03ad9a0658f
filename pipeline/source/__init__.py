"""Photographs and their instances: reading them, and the index of those that take part."""

from pipeline.source.coco import bounding_box, mask_area, read_annotations, union
from pipeline.source.images import content_hash, resize
from pipeline.source.index import SPLITS, ImageRow, Index, InstanceRow, read_indexed_image
from pipeline.source.index_build import build_index, choose_images, write_index
from pipeline.source.masks import resize_mask, touched, window_of

__all__ = [
    "SPLITS",
    "ImageRow",
    "Index",
    "InstanceRow",
    "bounding_box",
    "build_index",
    "choose_images",
    "content_hash",
    "mask_area",
    "read_annotations",
    "read_indexed_image",
    "resize",
    "resize_mask",
    "touched",
    "union",
    "window_of",
    "write_index",
]
