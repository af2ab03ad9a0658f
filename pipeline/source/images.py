"""Reading photographs: bytes from disk to an RGB array, with every way a file can be bad told apart."""

import hashlib
import re
import struct
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.arrays import Image

# COCO's masks are drawn on the pixels as they are stored, so an EXIF orientation must not turn the image.
AS_STORED_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
ANY_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]", re.DOTALL)  # but the restarts among the pixels
TRAILER_BYTES = 4096  # some cameras append bytes after the end mark


class UnreadableImageError(Exception):
    """The file is there, but it holds no whole image."""


def decode(data: bytes) -> Image:
    """Decode JPEG, PNG or BMP bytes to uint8 (H, W, 3) RGB as stored, without EXIF rotation.

    Raises:
        UnreadableImageError: the bytes are empty, cut short, or no image.
    """
    _check_ends(data)
    return _decode(data)


def size_of(data: bytes) -> tuple[int, int]:
    """The height and width of an image that `decode` can decode.

    Raises:
        UnreadableImageError: as `decode`.
    """
    _check_ends(data)
    size = _size_of_plain_jpeg(data)
    if size is None:
        height, width, _ = decode(data).shape
        return height, width
    return size


def _size_of_plain_jpeg(data: bytes) -> tuple[int, int] | None:
    """The height and width of a JPEG of one scan of grey or colour pixels that can be decoded; None for all else.

    From where such pixels begin, the decoder takes any bits for pixels and goes on, grey where they end too soon: only
    what lies before them can stop it. So it is given none of them, which takes an eighth of the time.
    """
    stream = BytesIO(data)
    try:
        header = JpegImageFile(stream)
        pixels_at = stream.tell()
        after = ANY_MARKER.search(data, pixels_at)
        one_scan = "progressive" not in header.info and after is not None and after.group() == JPEG_END
        if not one_scan or header.mode not in ("L", "RGB"):
            return None
        without_pixels = JpegImageFile(BytesIO(data[:pixels_at] + JPEG_END))
        without_pixels.draft(None, (1, 1))
        without_pixels.load()
    except (SyntaxError, OSError, ValueError, struct.error):  # Pillow's, of faults in a header
        return None
    return header.size[1], header.size[0]


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


def _decode(data: bytes) -> Image:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), AS_STORED_RGB)
    except cv2.error:  # sides or an area beyond OpenCV's limits
        image = None
    if image is None:
        raise UnreadableImageError("not a readable image")
    return np.asarray(image, np.uint8)


def _check_ends(data: bytes) -> None:
    if not data:
        raise UnreadableImageError("empty file")
    # libjpeg pads a file that was cut short with grey and only warns, so the end mark is looked for here.
    if data.startswith(JPEG_START) and JPEG_END not in data[-TRAILER_BYTES:]:
        raise UnreadableImageError("JPEG without its end mark (cut short)")
