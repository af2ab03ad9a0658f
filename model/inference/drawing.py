"""Maps as people look at them: in colours, over their image, with a frame around what was found."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from model.inference.threshold import Region
from pipeline.arrays import Image

OPACITY = 0.5
FRAME = (0, 255, 255)


def heat_map(probability: npt.NDArray[np.float32], image: Image | None = None, opacity: float = OPACITY) -> Image:
    """Colour a map of [0, 1] as RGB uint8 (H, W, 3), black to yellow; over `image` (H, W, 3) if there is one.

    Args:
        probability: float32 (H, W); what lies outside [0, 1] takes the nearer end.
        image: RGB uint8.
        opacity: of the colours over the image, in [0, 1].
    """
    levels = (probability.clip(0, 1) * 255).round().astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    if image is not None:
        colours = cv2.addWeighted(colours, opacity, image, 1 - opacity, 0)
    return colours.astype(np.uint8, copy=False)


def boxed(image: Image, boxes: Sequence[Region]) -> Image:
    """Draw a frame around each region, which lies in the pixels of RGB uint8 `image` (H, W, 3)."""
    drawn = image.copy()
    thick = max(1, round(min(image.shape[:2]) / 256))
    for box in boxes:
        corner = (box.left - thick, box.top - thick)
        opposite = (box.left + box.width - 1 + thick, box.top + box.height - 1 + thick)
        cv2.rectangle(drawn, corner, opposite, FRAME, thick)
    return drawn
