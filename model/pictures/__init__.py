"""Images and maps to figures."""

from model.pictures.sheet import DPI, Strip, draw_sheet, tint, to_image, write_picture, write_sheet
from model.pictures.turns import take_turns

__all__ = [
    "DPI",
    "Strip",
    "draw_sheet",
    "take_turns",
    "tint",
    "to_image",
    "write_picture",
    "write_sheet",
]
