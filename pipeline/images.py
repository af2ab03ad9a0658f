"""Reading photographs: bytes from disk to an RGB array, with every way a file can be bad told apart."""

import hashlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.arrays import Image

# COCO's masks are drawn on the pixels as they are stored, so an EXIF orientation must not turn the image.
AS_STORED_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
AN_EIGHTH = cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
TRAILER_BYTES = 4096  # some cameras append bytes after the end mark


class UnreadableImageError(Exception):
    """The file is there, but it holds no whole image."""


def decode(data: bytes) -> Image:
    """Decode JPEG, PNG or BMP bytes to uint8 (H, W, 3) RGB as stored, without EXIF rotation.

    Raises:
        UnreadableImageError: the bytes are empty, cut short, or no image.
    """
    return _decode(data, AS_STORED_RGB)


def measure(data: bytes) -> tuple[int, int]:
    """The height and width of an image whose pixels can all be read.

    Of a JPEG every coefficient is decoded, but few of them are turned into pixels: half the cost of `decode`.

    Raises:
        UnreadableImageError: as `decode`.
    """
    if not data.startswith(JPEG_START):
        height, width, _ = decode(data).shape
        return height, width
    _decode(data, AN_EIGHTH)
    width, height = JpegImageFile(BytesIO(data)).size  # reads the header only
    return height, width


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        UnreadableImageError: the file is missing or cannot be opened.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None


def content_hash(data: bytes) -> str:
    """Hexadecimal sha256 of an image file's bytes."""
    return hashlib.sha256(data).hexdigest()


def resize(image: Image, height_width: tuple[int, int]) -> Image:
    """Stretch an image to `height_width`, as CYWS and the published MetaUAS do; averaging when it shrinks."""
    height, width = height_width
    shrinks = height * width < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def _decode(data: bytes, how: int) -> Image:
    if not data:
        raise UnreadableImageError("empty file")
    # libjpeg pads a file that was cut short with grey and only warns, so the end mark is looked for here.
    if data.startswith(JPEG_START) and JPEG_END not in data[-TRAILER_BYTES:]:
        raise UnreadableImageError("JPEG without its end mark (cut short)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:  # sides or an area beyond OpenCV's limits
        image = None
    if image is None:
        raise UnreadableImageError("not a readable image")
    return np.asarray(image, np.uint8)
