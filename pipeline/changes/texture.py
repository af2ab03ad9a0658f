"""The ten operations by which DRAEM turns a photograph into a texture (facts of its public code; paper, section 3.3).

Each operation is a pair: `draw(rng)` gives its numbers, `apply(image, *numbers)` uses them. The numbers are what a
pair's record keeps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.arrays import Image

OPERATIONS_PER_TEXTURE = 3
LEVELS = np.arange(256)
# Pillow's SMOOTH kernel, the blurred end of its sharpness enhancement.
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13


@dataclass(frozen=True)
class TextureOperation:
    """One drawn operation."""

    name: str  # a key of OPERATIONS
    numbers: tuple[float, ...]


def draw_texture(rng: np.random.Generator) -> tuple[TextureOperation, ...]:
    """Three of the ten operations, without replacement, in the drawn order."""
    names = [str(name) for name in rng.choice(sorted(OPERATIONS), OPERATIONS_PER_TEXTURE, replace=False)]
    return tuple(TextureOperation(name, OPERATIONS[name][0](rng)) for name in names)


def apply_texture(image: Image, operations: Sequence[TextureOperation]) -> Image:
    """The image after the operations, in order; uint8 (H, W, 3)."""
    for operation in operations:
        image = OPERATIONS[operation.name][1](image, *operation.numbers)
    return image


def gamma(image: Image, *exponents: float) -> Image:
    """Raise each channel, taken as [0, 1], to its own exponent."""
    # Rounded first: numpy's powers differ in the last digits from processor to processor, and so would a level at .5.
    return _map_channels(image, [np.round(255 * (LEVELS / 255) ** exponent, 9) for exponent in exponents])


def brightness(image: Image, factor: float, added: float) -> Image:
    """Multiply the brightness (V of HSV) by `factor` and add `added` levels."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 2] = cv2.LUT(hsv[..., 2], _levels(LEVELS * factor + added))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def sharpness(image: Image, factor: float) -> Image:
    """Blend from the smoothed image (0) over the image itself (1) to a sharpened one (above 1)."""
    smooth = cv2.filter2D(image, -1, SMOOTH)
    return np.asarray(cv2.addWeighted(image, factor, smooth, 1 - factor, 0), np.uint8)


def hue_and_saturation(image: Image, hue: float, saturation: float) -> Image:
    """Turn the hue by `hue` of 256 steps of the circle and add `saturation` levels."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] = cv2.LUT(hsv[..., 0], ((LEVELS + round(hue)) % 256).astype(np.uint8))
    hsv[..., 1] = cv2.LUT(hsv[..., 1], _levels(LEVELS + saturation))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def solarize(image: Image, threshold: float) -> Image:
    """Invert the levels from `threshold` up; a threshold of 256 changes nothing."""
    return _map_channels(image, [np.where(threshold <= LEVELS, 255 - LEVELS, LEVELS)] * 3)


def posterize(image: Image, bits: float) -> Image:
    """Keep the highest `bits` bits of each channel."""
    return image & np.uint8(256 - 2 ** (8 - int(bits)))


def invert(image: Image) -> Image:
    """The negative of an image."""
    return np.bitwise_not(image)


def autocontrast(image: Image, cutoff_percent: float) -> Image:
    """Stretch each channel to 0..255, leaving out `cutoff_percent` of the pixels at either end."""
    shares = cutoff_percent / 100, 1 - cutoff_percent / 100
    return _map_channels(image, [_stretch(*_quantiles(image[..., channel], shares)) for channel in range(3)])


def equalize(image: Image) -> Image:
    """Equalise the histogram of each channel."""
    return np.asarray(cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)]), np.uint8)


def rotate(image: Image, angle_deg: float) -> Image:
    """Turn about the centre. The border is mirrored: a texture has no use for the black corners of DRAEM's."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle_deg, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101), np.uint8)


def _uniform(*ranges: tuple[float, float]) -> Callable[[np.random.Generator], tuple[float, ...]]:
    return lambda rng: tuple(float(rng.uniform(low, high)) for low, high in ranges)


def _draw_solarize(rng: np.random.Generator) -> tuple[float, ...]:
    """A threshold in 32..128 with chance 0.5, else one that changes nothing."""
    applied, threshold = rng.random() < 0.5, float(rng.uniform(32, 128))
    return (threshold if applied else 256.0,)


def _quantiles(channel: npt.NDArray[np.uint8], shares: tuple[float, float]) -> list[float]:
    """As numpy.quantile, from the histogram: ten times faster than sorting."""
    levels = np.bincount(channel.ravel(), minlength=256).cumsum()  # pixels up to each level
    found = []
    for share in shares:
        place = share * (channel.size - 1)
        below, above = np.searchsorted(levels, [np.floor(place), np.ceil(place)], side="right")
        found.append(float(below + (place % 1) * (above - below)))
    return found


def _stretch(low: float, high: float) -> npt.NDArray[np.float64]:
    return (LEVELS - low) * (255 / (high - low)) if high > low else LEVELS.astype(np.float64)


def _levels(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _map_channels(image: Image, tables: Sequence[npt.NDArray[np.generic]]) -> Image:
    table = np.stack([_levels(channel) for channel in tables], axis=-1)[None]  # (1, 256, 3)
    return np.asarray(cv2.LUT(image, table), np.uint8)


OPERATIONS: dict[str, tuple[Callable[[np.random.Generator], tuple[float, ...]], Callable[..., Image]]] = {
    "gamma": (_uniform((0.5, 2.0), (0.5, 2.0), (0.5, 2.0)), gamma),
    "brightness": (_uniform((0.8, 1.2), (-30, 30)), brightness),
    "sharpness": (_uniform((0.0, 3.0)), sharpness),
    "hue_and_saturation": (_uniform((-50, 50), (-50, 50)), hue_and_saturation),
    "solarize": (_draw_solarize, solarize),
    "posterize": (lambda rng: (float(rng.integers(1, 8, endpoint=True)),), posterize),
    "invert": (lambda _: (), invert),
    "autocontrast": (_uniform((0.0, 20.0)), autocontrast),
    "equalize": (lambda _: (), equalize),
    "rotate": (_uniform((-45, 45)), rotate),
}
