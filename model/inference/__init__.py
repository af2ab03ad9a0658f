"""A network, or its ONNX file, with its prompts as one function of queries, and the files of these."""

from model.inference.drawing import boxed, heat_map
from model.inference.engine import Engine, Speed, Together, View, open_device, open_engine, read_images
from model.inference.files import find_images, name_outputs
from model.inference.looking import (
    FALSE_ALARMS,
    Map,
    Predicted,
    add_threshold_options,
    find_normals,
    predict,
    prompt_digests,
    score_of,
    set_threshold,
)
from model.inference.onnx_file import Inside, Notes, Told, check_export, notes_of, own_size, write_onnx
from model.inference.threshold import Region, Threshold, regions_of

__all__ = [
    "FALSE_ALARMS",
    "Engine",
    "Inside",
    "Map",
    "Notes",
    "Predicted",
    "Region",
    "Speed",
    "Threshold",
    "Together",
    "Told",
    "View",
    "add_threshold_options",
    "boxed",
    "check_export",
    "find_images",
    "find_normals",
    "heat_map",
    "name_outputs",
    "notes_of",
    "open_device",
    "open_engine",
    "own_size",
    "predict",
    "prompt_digests",
    "read_images",
    "regions_of",
    "score_of",
    "set_threshold",
    "write_onnx",
]
