"""Filling a masked region from what is around it: OpenCV's two methods, or LaMa from simple-lama-inpainting."""

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.errors import BadRequest
from configs.inpaint import Inpaint
from pipeline.arrays import Image, Mask

Filler = Callable[[Sequence[Image], Sequence[Mask]], list[Image]]
"""Images and masks of one size -> the images with the masked pixels replaced; pixels outside may change too."""

TELEA_RADIUS_PX = 3
LAMA_BATCH = 8  # LaMa takes sizes that are multiples of 8: `size_px` has multiples of 32, so nothing is padded
LAMA_URL = "https://github.com/enesmsahin/simple-lama-inpainting/releases/download/v0.1.0/big-lama.pt"


def make_filler(config: Inpaint) -> Filler:
    """The configured filler. LaMa is loaded once per process.

    Raises:
        BadRequest: `inpaint.filler` is lama and its weights are not there.
    """
    if config.filler == "lama":
        return _load_lama(lama_weights(config))
    method = cv2.INPAINT_TELEA if config.filler == "opencv_telea" else cv2.INPAINT_NS
    return lambda images, masks: [
        np.asarray(cv2.inpaint(image, mask.astype(np.uint8), TELEA_RADIUS_PX, method), np.uint8)
        for image, mask in zip(images, masks, strict=True)
    ]


def lama_weights(config: Inpaint) -> Path:
    """The path of LaMa's TorchScript file: `inpaint.lama_weights`, else the environment variable LAMA_MODEL.

    Raises:
        BadRequest: neither names a file that is there.
    """
    named = config.lama_weights or os.environ.get("LAMA_MODEL")
    if named and Path(named).is_file():
        return Path(named)
    found = f"{named} is no file" if named else "inpaint.lama_weights is null and LAMA_MODEL is not set"
    raise BadRequest(
        f"inpaint.filler = lama needs the weights big-lama.pt, but {found}; "
        f"download {LAMA_URL} and give its path, or take inpaint.filler: opencv_telea"
    )


@cache
def _load_lama(weights: Path) -> Filler:
    # Imported here alone: they bring torch, which the rest of the pipeline does without.
    import torch
    from simple_lama_inpainting import SimpleLama

    os.environ["LAMA_MODEL"] = str(weights)  # the package's own way to name a local file
    lama = SimpleLama()

    def fill(images: Sequence[Image], masks: Sequence[Mask]) -> list[Image]:
        filled: list[Image] = []
        for first in range(0, len(images), LAMA_BATCH):
            batch = torch.from_numpy(np.stack(images[first : first + LAMA_BATCH])).to(lama.device)
            holes = torch.from_numpy(np.stack(masks[first : first + LAMA_BATCH])).to(lama.device)
            filled += _run_lama(lama.model, batch, holes)
        return filled

    return fill


def _run_lama(model: Any, images: Any, masks: Any) -> list[Image]:
    """LaMa on a batch: uint8 (B, H, W, 3) and bool (B, H, W) tensors in, uint8 (H, W, 3) arrays out."""
    import torch

    with torch.inference_mode():
        output = model(images.permute(0, 3, 1, 2).float() / 255, masks[:, None].float())  # (B, 3, H, W) in [0, 1]
    pixels = (output * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return list(pixels.cpu().numpy())
