"""The two protocols: how images and masks reach the size they are scored at.

    exact   stretched by pixel areas, masks by the nearest pixel (`model.images`); exact AUPRO up to FPR 0.3
    paper   stretched as the published evaluator of the system does; AUPRO by 200 thresholds

MetaCAN's images are cut, in both, to the square that CLIP sees.

Nothing is resized back: scores are at the network's size, in both.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs.errors import Failure
from configs.evaluate import Protocol
from configs.model import System
from model.images import Stretch, read_image, read_mask, resize_image, resize_mask
from model.layouts import Query
from model.scores import Aupro
from pipeline.arrays import Image, Mask

PUBLISHED: dict[System, Stretch] = {"metauas": "corners", "onenip": "pillow", "metacan": "crop"}
AUPRO: dict[Protocol, Aupro] = {"exact": "exact", "paper": "200 thresholds"}


@dataclass(frozen=True)
class Seen:
    """A query as it is scored, H x W pixels."""

    image: npt.NDArray[np.float32]  # (H, W, 3) RGB in [0, 1]
    mask: Mask  # (H, W)
    known: bool  # whether the mask tells the truth; False for an anomalous image without one


def stretch_of(protocol: Protocol, system: System) -> Stretch:
    """How images and masks reach the size they are scored at."""
    return PUBLISHED[system] if protocol == "paper" or system == "metacan" else "areas"


def read_prompt(path: Path, size: tuple[int, int], how: Stretch) -> npt.NDArray[np.float32]:
    """Read a normal image, float32 (H, W, 3) RGB in [0, 1] at `size` = (H, W)."""
    return resize_image(read_image(path), size, how)


def read_seen(query: Query, size: tuple[int, int], how: Stretch) -> Seen:
    """Read a query and its mask at `size` = (H, W).

    Raises:
        Failure: a file cannot be read, or the mask has another size than its image.
    """
    image, mask = read_query(query)
    known = query.mask_path is not None or not query.is_anomalous
    return Seen(resize_image(image, size, how), resize_mask(mask, size, how), known)


def read_query(query: Query) -> tuple[Image, Mask]:
    """Read a query, RGB uint8 (H, W, 3), and its mask, bool (H, W), all False for a normal one.

    Raises:
        Failure: a file cannot be read, or the mask has another size than its image.
    """
    image = read_image(query.path)
    if query.mask_path is None:
        return image, np.zeros(image.shape[:2], np.bool_)
    mask = read_mask(query.mask_path)
    if mask.shape != image.shape[:2]:
        raise Failure(
            f"{query.mask_path}: mask is {_size(mask.shape)}, its image {query.path} is {_size(image.shape)}; "
            "wanted the same size"
        )
    return image, mask


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"
