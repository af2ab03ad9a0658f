"""A network, or its ONNX file, with its prompts as one function of queries, and the files of these."""

from model.inference.engine import Engine, Speed, Together, View, open_device, open_engine, stretch, to_batch
from model.inference.files import find_images, name_outputs
from model.inference.onnx_file import own_size, write_onnx

__all__ = [
    "Engine",
    "Speed",
    "Together",
    "View",
    "find_images",
    "name_outputs",
    "open_device",
    "open_engine",
    "own_size",
    "stretch",
    "to_batch",
    "write_onnx",
]
