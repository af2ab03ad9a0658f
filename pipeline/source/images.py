"""Reading photographs: bytes from disk to an RGB array, with every way a file can be bad told apart."""

import hashlib
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import Lock

import cv2
import imagehash
import numpy as np
import PIL.Image
import PIL.TiffImagePlugin

from pipeline.arrays import Image

# COCO's masks are drawn on the pixels as they are stored, so an EXIF orientation must not turn the image.
AS_STORED_RGB = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
# Decoded it takes 300 MB, a third of a worker's memory in the ready files; a file of a megabyte may state far more.
MOST_PIXELS = 100_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")  # in any case
# What OpenCV decodes, and Pillow knows by these names. The first frame of a motion photograph is a JPEG.
FORMATS = ("MPO", "JPEG", "PNG", "BMP", "TIFF", "WEBP")
PNG_BITS = 24  # place of the byte, behind signature, length, name and sides
TIFF_BITS = 258  # tag BitsPerSample
LOOK_PX = 32  # side at which a photograph's look is taken
_QUIET = Lock()  # the filter of warnings is the process's, and images are examined in threads


class UnreadableImageError(Exception):
    """The file is there, but it holds no whole image, or one that is too large."""


@dataclass(frozen=True)
class Photograph:
    """What is known of an image file without its pixels at full size."""

    height: int  # pixels, as stored
    width: int
    look: int  # perceptual hash, 64 bits: resized or encoded again it differs in a few of them


def examine(data: bytes) -> Photograph:
    """Measure the bytes of an image that `decode` can decode.

    Raises:
        UnreadableImageError: the bytes are empty, cut short, no image, or state more than MOST_PIXELS.
    """
    if not data:
        raise UnreadableImageError("empty file")
    try:
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of many pixels and odd Exif blocks
            header = PIL.Image.open(BytesIO(data))
    except PIL.Image.DecompressionBombError:
        raise UnreadableImageError(f"states more than {MOST_PIXELS} pixels") from None
    except Exception:  # noqa: BLE001  # of a damaged header Pillow raises whatever its parsers meet
        raise UnreadableImageError("not a readable image") from None
    width, height = header.size
    if width * height > MOST_PIXELS:
        raise UnreadableImageError(f"states {width}x{height}, more than {MOST_PIXELS} pixels")
    if header.format not in FORMATS:
        raise UnreadableImageError(f"a {header.format} file; wanted {', '.join(FORMATS[1:-1])} or {FORMATS[-1]}")
    if (bits := _bits(header, data)) > 8:
        raise UnreadableImageError(f"{bits} bits a channel; wanted 8, as nothing tells which of them count")
    header.draft("L", (LOOK_PX, LOOK_PX))  # a JPEG is then decoded at an eighth of its sides
    try:
        header.load()
        look = imagehash.phash(header)
    except Exception as error:  # noqa: BLE001  # as above
        short = "truncated" in str(error)
        raise UnreadableImageError("cut short" if short else "not a readable image") from None
    return Photograph(height, width, int(str(look), 16))


def _bits(header: PIL.Image.Image, data: bytes) -> int:
    """Bits a channel, of which Pillow's mode does not tell."""
    if header.format == "PNG":
        return data[PNG_BITS]
    return max(header.tag_v2.get(TIFF_BITS, (8,))) if isinstance(header, PIL.TiffImagePlugin.TiffImageFile) else 8


def decode(data: bytes) -> Image:
    """Decode JPEG, PNG, BMP, TIFF or WebP bytes to uint8 (H, W, 3) RGB as stored, without EXIF rotation.

    Raises:
        UnreadableImageError: the bytes are no image. That they are whole is for `examine` to tell.
    """
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), AS_STORED_RGB) if data else None
    except cv2.error:  # sides or an area beyond OpenCV's limits
        image = None
    if image is None:
        raise UnreadableImageError("not a readable image")
    return np.asarray(image, np.uint8)


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
    """Stretch an image to `height_width`, as CYWS and the published MetaUAS do; averaging where it shrinks.

    Where one axis shrinks and the other grows, the shrinking one goes first, by itself: in one go OpenCV would
    interpolate both, and leave pixels out.
    """
    height, width = height_width
    if height < image.shape[0] and width > image.shape[1]:
        image = _stretch(image, height, image.shape[1], cv2.INTER_AREA)
    elif width < image.shape[1] and height > image.shape[0]:
        image = _stretch(image, image.shape[0], width, cv2.INTER_AREA)
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return _stretch(image, height, width, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _stretch(image: Image, height: int, width: int, how: int) -> Image:
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)
