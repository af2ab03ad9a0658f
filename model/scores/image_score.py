"""The score of an image, from its map."""

import cv2
import numpy as np
import numpy.typing as npt

from configs.evaluate import ImageScore
from model.scores.metrics import Maps

WINDOW = 1 / 32  # side of the window that smooths, of the map's shorter side
TOP = 0.01  # of the smoothed map


def image_scores(maps: Maps, how: ImageScore = "max") -> npt.NDArray[np.float32]:
    """Scores float32 (N,) of maps float32 (N, H, W).

    max   the highest pixel (paper, section 3.4)
    top   the mean of the highest percent of the map, smoothed: a single pixel makes no anomaly
    """
    if how == "max":
        return np.asarray(maps.max(axis=(1, 2)), np.float32)
    side = max(1, round(WINDOW * min(maps.shape[1:])))
    smooth = np.stack([cv2.blur(one, (side, side), borderType=cv2.BORDER_REFLECT_101) for one in maps])
    count = max(1, round(TOP * smooth[0].size))
    highest = np.partition(smooth.reshape(len(maps), -1), -count, axis=1)[:, -count:]
    return np.asarray(highest.mean(axis=1, dtype=np.float64), np.float32)
