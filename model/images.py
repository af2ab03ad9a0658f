"""Images and masks: read from files, and brought to a size in one of four ways.

areas    images by pixel areas (a side that shrinks) or bilinearly (one that grows), masks by the nearest pixel
corners  as MetaUAS's published evaluator: both bilinearly with aligned corners and without a filter, every trace of a
         mask counts as anomalous (which widens regions by about a pixel)
pillow   as OneNIP's: images by Pillow's bilinear filter, masks by its nearest pixel
crop     as MetaCAN's: by Pillow's bicubic filter, masks by its nearest pixel, until one side fits; the middle of the
         other one is cut out
"""

from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from configs.errors import Failure
from pipeline.arrays import Image, Mask

Stretch = Literal["areas", "corners", "pillow", "crop"]
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
WANTED = "png, jpg, jpeg, bmp, tif, tiff or webp"
TIFF_SUFFIXES = (".tif", ".tiff")


def read_image(path: Path) -> Image:
    """Read an image of 8 bits a channel as RGB uint8 (H, W, 3); grey ones are repeated, alpha is dropped.

    The EXIF orientation is ignored: masks are drawn on the stored pixels and carry none, and turning the image alone
    would part the two. TIFF's own orientation is part of that format, and is followed.

    Raises:
        Failure: the file is missing or is not an image, or holds more than 8 bits: nothing tells which of them count.
    """
    pixels = _decode(path, cv2.IMREAD_UNCHANGED)
    if pixels.dtype != np.uint8:
        raise Failure(
            f"{path}: {8 * pixels.itemsize}-bit image whose largest value is {pixels.max()}; wanted 8 bits a channel;"
            " convert it with the scaling that its camera wants"
        )
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if path.suffix.lower() in TIFF_SUFFIXES and pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise Failure(f"{path}: TIFF with transparent pixels, which are decoded darker; save it without alpha")
    return np.ascontiguousarray(pixels[..., 2::-1], np.uint8)


def read_mask(path: Path) -> Mask:
    """Read a mask, bool (H, W), True where the file is not zero, in any number of bits.

    Raises:
        Failure: the file is missing or is not an image.
    """
    return _decode(path, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION) > 0


def fitted(area: tuple[int, int], image: tuple[int, int], stride: int) -> tuple[int, int]:
    """Sides (H, W) of the aspect of `image` = (h, w) and about the area of `area` = (H, W): multiples of `stride`."""
    pixels, aspect = area[0] * area[1], image[0] / image[1]
    height, width = (
        max(stride, round(side / stride) * stride) for side in (sqrt(pixels * aspect), sqrt(pixels / aspect))
    )
    return height, width


def resize_image(image: Image, size: tuple[int, int], how: Stretch) -> npt.NDArray[np.float32]:
    """Stretch RGB uint8 (h, w, 3) to float32 (H, W, 3) in [0, 1], `size` = (H, W)."""
    height, width = size
    if how == "corners":
        return _bilinear(image.astype(np.float32) / 255, size)
    if how == "pillow":
        stretched = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR)
        return np.asarray(stretched, np.float32) / 255
    if how == "crop":
        return np.asarray(_middle(PIL.Image.fromarray(image), size, PIL.Image.Resampling.BICUBIC), np.float32) / 255
    # INTER_AREA takes two pixels, and not all that a new one covers, as soon as one of the sides grows.
    least = (min(width, image.shape[1]), min(height, image.shape[0]))
    shrunk = cv2.resize(image, least, interpolation=cv2.INTER_AREA)
    return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255


def shrink_by(scale: float, stride: int) -> Callable[[Tensor], Tensor]:
    """A function that shrinks images float32 (B, C, H, W) by pixel areas, to sides that are multiples of `stride`."""

    def shrink(images: Tensor) -> Tensor:
        size = [max(stride, round(scale * side / stride) * stride) for side in images.shape[-2:]]
        return F.interpolate(images, size, mode="area")

    return shrink


def enlarge(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (B, h, w) at the size of images (B, C, H, W), bilinearly."""
    size = (images.shape[-2], images.shape[-1])
    return F.interpolate(maps.unsqueeze(1), size, mode="bilinear", align_corners=False).squeeze(1)


def resize_mask(mask: Mask, size: tuple[int, int], how: Stretch) -> Mask:
    """Stretch bool (h, w) to `size` = (H, W)."""
    if how == "corners":
        return _bilinear(mask[..., None].astype(np.float32), size)[..., 0] > 0
    height, width = size
    if how == "pillow":
        return np.asarray(PIL.Image.fromarray(mask).resize((width, height), PIL.Image.Resampling.NEAREST), np.bool_)
    if how == "crop":
        return np.asarray(_middle(PIL.Image.fromarray(mask), size, PIL.Image.Resampling.NEAREST), np.bool_)
    # INTER_NEAREST would take the pixel up and to the left of the centre and so shift the mask against its image.
    return cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT) > 0


def _middle(image: PIL.Image.Image, size: tuple[int, int], by: PIL.Image.Resampling) -> PIL.Image.Image:
    """The middle of an image, as large as `size` = (H, W) allows: one side is brought to its own, the other one cut."""
    (width, height), (high, wide) = image.size, size
    if width * high > wide * height:
        wide_before, high_before = int(high * width / height), high
    else:
        wide_before, high_before = wide, int(wide * height / width)
    left, top = round((wide_before - wide) / 2), round((high_before - high) / 2)
    return image.resize((wide_before, high_before), by).crop((left, top, left + wide, top + high))


def _bilinear(pixels: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Float32 (h, w, C) -> (H, W, C), the corners' centres aligned and nothing averaged."""
    planes = torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)  # (1, C, h, w)
    resized = F.interpolate(planes, size, mode="bilinear", align_corners=True, antialias=False)
    return resized.squeeze(0).permute(1, 2, 0).numpy()


def _decode(path: Path, flags: int) -> npt.NDArray[Any]:
    try:
        # Decoding bytes, unlike `cv2.imread`, tells a missing file from a broken one.
        stored = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from None
    try:
        pixels = cv2.imdecode(stored, flags) if stored.size else None
    except cv2.error:  # sides or an area beyond OpenCV's limits
        pixels = None
    if pixels is None:
        raise Failure(f"{path}: not an image ({stored.size} bytes); wanted {WANTED}")
    return pixels
