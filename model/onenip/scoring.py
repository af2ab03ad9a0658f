"""What a comparison finds, and the scores that are made of it (paper, section 3.5)."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from configs.errors import BadRequest

WINDOW_PX = 16  # side of the window whose mean is an image's score, at every size of images (released code)
UNCALIBRATED = 0.0


@dataclass(frozen=True)
class Comparison:
    """What `OneNIP.compare` finds, float32."""

    reconstruction: Tensor  # (B, C, h, w), of the features at stride 16
    error: Tensor  # (B, 1, H, W), length of its difference from them (Eq. 9)
    refined: Tensor | None  # (B, 1, H, W) in [0, 1], what the refiner makes of the difference; None without one


def middle(errors: Iterable[Tensor]) -> Tensor:
    """The middle between the smallest and the largest value of all error maps, float32 ().

    Raises:
        BadRequest: there are none.
    """
    ends = [torch.stack(error.aminmax()) for error in errors]
    if not ends:
        raise BadRequest("calibrate: no error maps; wanted those of some images")
    smallest, largest = torch.stack(ends).unbind(dim=1)
    return (smallest.min() + largest.max()) / 2


def score_map(found: Comparison, alpha: float, c: Tensor) -> Tensor:
    """(1 - alpha) error + alpha c refined (Eq. 10, whose c is the released code's), or the error without a refiner.

    Returns:
        float32 (B, 1, H, W), 0 or more.
    """
    if found.refined is None or not alpha:
        return found.error
    return (1 - alpha) * found.error + alpha * c * found.refined


def relative_map(found: Comparison, alpha: float, c: Tensor) -> Tensor:
    """The score map in units of 2 c: float32 (B, 1, H, W), 0 or more."""
    return score_map(found, alpha, c) / (2 * c)


def image_scores(score_maps: Tensor) -> Tensor:
    """The largest mean of any 16 x 16 window: (B, 1, H, W) -> (B,). The paper says the maximum.

    Raises:
        BadRequest: maps smaller than the window.
    """
    if min(score_maps.shape[2:]) < WINDOW_PX:
        raise BadRequest(
            f"score maps are {tuple(score_maps.shape)}; wanted a whole window, {WINDOW_PX} or more rows and columns"
        )
    return F.avg_pool2d(score_maps, WINDOW_PX, stride=1).amax(dim=(1, 2, 3))
