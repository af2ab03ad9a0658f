"""What counts as a visible change: a mask over something nobody can see is a wrong label."""

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.arrays import Image, Mask
from pipeline.source import window_of


def contrast(original: Image, changed: Image) -> npt.NDArray[np.uint8]:
    """The largest difference over the three channels, uint8 (H, W), 0..255."""
    red, green, blue = cv2.split(cv2.absdiff(original, changed))
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def keep_visible(
    original: Image, changed: Image, mask: Mask, min_contrast: int, min_share: float
) -> tuple[Image, Mask]:
    """Take back the change in every region of the mask where too little of it can be seen.

    A region is an 8-connected component of the mask. It stays when at least `min_share` of its pixels, and at least
    one, differ by `min_contrast` or more. Outside the mask that is returned, the image that is returned equals the
    original to the bit.
    """
    if not mask.any():  # OpenCV's labelling dies of an empty window
        return original.copy(), mask.copy()
    window = window_of(mask)
    inside, near, new = mask[window], original[window], changed[window]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside.view(np.uint8), connectivity=8)
    area = stats[:, cv2.CC_STAT_AREA]
    seen = np.bincount(labels[inside & (contrast(near, new) >= min_contrast)], minlength=len(area))
    stays = (seen >= min_share * area) & (seen > 0)
    kept = np.zeros_like(mask)
    kept[window] = inside & stays[labels]
    return put(original, changed, kept), kept


def put(original: Image, changed: Image, mask: Mask) -> Image:
    """A copy of `original` with the pixels of `changed` inside the mask: everything else stays to the bit."""
    return np.asarray(cv2.copyTo(changed, mask.view(np.uint8), original.copy()), np.uint8)
