"""Filling a masked region from what is around it: OpenCV's two methods, or LaMa from simple-lama-inpainting.

LaMa is the TorchScript module inside that package. It is called here in batches: the package's own call takes one image
at a time and leaves its padding on the result.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest, Failure
from configs.inpaint import Inpaint
from pipeline.arrays import Image, Mask
from pipeline.changes.visible import put

Filler = Callable[[Sequence[Image], Sequence[Mask]], list[Image]]
"""Images of any sizes and their masks -> the images with the masked pixels replaced, and no others."""

OPENCV_RADIUS_PX = 2  # 3, the usual, costs 1.7 times as much and looks the same at the size of pairs
LAMA_MULTIPLE = 8  # LaMa takes sides that are multiples of this many pixels
LAMA_LIBRARIES = ("torch", "simple-lama-inpainting")  # which shape LaMa's pixels
LAMA_URL = "https://github.com/enesmsahin/simple-lama-inpainting/releases/download/v0.1.0/big-lama.pt"


@dataclass(frozen=True)
class Weights:
    """LaMa's TorchScript file. What was made with it depends on its content, wherever it lies."""

    path: Path  # absolute
    sha256: str


def make_filler(config: Inpaint, weights: Weights | None) -> Filler:
    """The configured filler. LaMa is loaded once per process, onto the GPU if there is one.

    A network's rounding may follow the size of the batch: LaMa's pixels can differ by a level between batches of
    another make-up, as other shard sizes give them. `inpaint.lama_batch` 1 rules that out.

    Raises:
        Failure: the weights are not, on this machine, those that `find_weights` found.
    """
    if config.filler == "lama":
        assert weights is not None
        return _with_lama(_load_lama(weights), config.lama_batch)
    method = cv2.INPAINT_TELEA if config.filler == "opencv_telea" else cv2.INPAINT_NS
    return lambda images, masks: [
        np.asarray(cv2.inpaint(image, mask.view(np.uint8), OPENCV_RADIUS_PX, method), np.uint8)
        for image, mask in zip(images, masks, strict=True)
    ]


def find_weights(config: Inpaint) -> Weights | None:
    """LaMa's file, `inpaint.lama_weights` or else what the environment variable LAMA_MODEL names; None for OpenCV.

    Raises:
        BadRequest: neither names a file that is there.
    """
    if config.filler != "lama":
        return None
    named = config.lama_weights or os.environ.get("LAMA_MODEL")
    if named and Path(named).is_file():
        return Weights(Path(named).absolute(), _sha256(Path(named)))
    found = f"{named} is no file" if named else "inpaint.lama_weights is null and LAMA_MODEL is not set"
    raise BadRequest(
        f"inpaint.filler = lama needs the weights big-lama.pt, but {found}; "
        f"download {LAMA_URL} and give its path, or take inpaint.filler: opencv_telea"
    )


def device_of_lama() -> str:
    """What LaMa runs on in this process, in words."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


@cache
def _load_lama(weights: Weights) -> Any:
    """The package's SimpleLama: a TorchScript `model` on a `device`."""
    if not weights.path.is_file() or _sha256(weights.path) != weights.sha256:
        raise Failure(
            f"{weights.path}: not the file of sha256 {weights.sha256[:16]} that the run was started with; "
            "put that file at this path on every machine of the cluster"
        )
    # Imported here alone: they bring torch, which the rest of the pipeline does without.
    import torch
    from simple_lama_inpainting import SimpleLama

    torch.set_num_threads(1)  # the worker processes are the parallelism
    os.environ["LAMA_MODEL"] = str(weights.path)  # the package's own way to name a local file
    return SimpleLama()


def _with_lama(lama: Any, batch: int) -> Filler:
    def fill(images: Sequence[Image], masks: Sequence[Mask]) -> list[Image]:
        filled: dict[int, Image] = {}
        for side, numbers in _batches(images, batch):
            painted = _run_lama(lama, [_pad(images[n], side) for n in numbers], [_pad(masks[n], side) for n in numbers])
            for number, pixels in zip(numbers, painted, strict=True):
                height, width = masks[number].shape
                filled[number] = put(images[number], np.ascontiguousarray(pixels[:height, :width]), masks[number])
        return [filled[number] for number in range(len(images))]

    return fill


def _batches(images: Sequence[Image], batch: int) -> Iterator[tuple[tuple[int, int], list[int]]]:
    """The padded size and the numbers of at most `batch` images that share it."""
    by_size = defaultdict[tuple[int, int], list[int]](list)
    for number, image in enumerate(images):
        height, width = (-(-side // LAMA_MULTIPLE) * LAMA_MULTIPLE for side in image.shape[:2])
        by_size[height, width].append(number)
    for size, numbers in by_size.items():
        for first in range(0, len(numbers), batch):
            yield size, numbers[first : first + batch]


def _pad(array: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Grow an image or a mask at the bottom and at the right to `size` (height, width), reflected."""
    missing = [(0, wanted - found) for wanted, found in zip(size, array.shape, strict=False)]
    return np.pad(array, missing + [(0, 0)] * (array.ndim - 2), mode="symmetric")


def _run_lama(lama: Any, images: Sequence[Image], masks: Sequence[Mask]) -> npt.NDArray[np.uint8]:
    """LaMa on images of one size: uint8 (B, H, W, 3)."""
    import torch

    pixels = torch.from_numpy(np.stack(images)).to(lama.device).permute(0, 3, 1, 2).float() / 255
    holes = torch.from_numpy(np.stack(masks)).to(lama.device)[:, None].float()
    with torch.inference_mode():
        output = lama.model(pixels, holes)  # (B, 3, H, W) in [0, 1]
    levels = (output * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return np.asarray(levels.cpu().numpy())


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
