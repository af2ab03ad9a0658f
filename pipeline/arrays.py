"""The two array types every image operation takes and gives, and their size."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # uint8 (H, W, 3), RGB, 0..255
Mask = npt.NDArray[np.bool_]  # bool (H, W), True where it applies


def height_width(size_px: int | list[int]) -> tuple[int, int]:
    """Height and width in pixels of a `size_px`."""
    return (size_px, size_px) if isinstance(size_px, int) else (size_px[0], size_px[1])
