"""The two array types every image operation takes and gives."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # uint8 (H, W, 3), RGB, 0..255
Mask = npt.NDArray[np.bool_]  # bool (H, W), True where it applies
