"""Photographs and their instances: reading them, and the index of those that take part."""

from pipeline.source.categories import read_categories
from pipeline.source.coco import of_licences, read_annotations
from pipeline.source.images import SUFFIXES, UnreadableImageError, content_hash, decode, read_bytes, resize
from pipeline.source.index import SPLITS, ImageRow, Index, InstanceRow, read_indexed_image
from pipeline.source.index_build import build_index, choose_images, write_index
from pipeline.source.masks import resize_mask, touched, window_of
from pipeline.source.rights import NONE_STATED, RightsTable
from pipeline.source.run_lengths import bounding_box, mask_area, union

__all__ = [
    "NONE_STATED",
    "SPLITS",
    "SUFFIXES",
    "ImageRow",
    "Index",
    "InstanceRow",
    "RightsTable",
    "UnreadableImageError",
    "bounding_box",
    "build_index",
    "choose_images",
    "content_hash",
    "decode",
    "mask_area",
    "of_licences",
    "read_annotations",
    "read_bytes",
    "read_categories",
    "read_indexed_image",
    "resize",
    "resize_mask",
    "touched",
    "union",
    "window_of",
    "write_index",
]
