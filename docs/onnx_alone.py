"""Run a file of `python -m model.export --prompt ..` with numpy, OpenCV and onnxruntime alone.

python onnx_alone.py nut.onnx query.png heat.png
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def stretch(image, height, width, how):
    """RGB uint8 (h, w, 3) to float32 (height, width, 3) in [0, 1], as the network's training and authors do."""
    if how == "areas":
        least = (min(width, image.shape[1]), min(height, image.shape[0]))
        shrunk = cv2.resize(image, least, interpolation=cv2.INTER_AREA)
        return cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    pixels = image.astype(np.float32) / 255  # bilinear between the corners' centres
    for axis, side in ((0, height), (1, width)):
        at = np.linspace(0, pixels.shape[axis] - 1, side, dtype=np.float32)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, pixels.shape[axis] - 1)
        share = (at - low).reshape([-1 if own == axis else 1 for own in range(3)])
        pixels = (1 - share) * pixels.take(low, axis) + share * pixels.take(high, axis)
    return pixels


file, query, heat = sys.argv[1:]
pixels = cv2.imread(query, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
if pixels is None:
    sys.exit(f"{query}: no image")
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
notes = json.loads(session.get_modelmeta().custom_metadata_map["metauas-pipeline"])
image = stretch(pixels[..., ::-1], *notes["size"], notes["stretch"])
found, score = session.run(["map", "score"], {"query": image.transpose(2, 0, 1)[None].astype(np.float32)})
decided = "no threshold" if notes["threshold"] is None else f"anomalous: {score[0] > notes['threshold']['score']}"
print(f"score {score[0]:.4f}, {decided}")
cv2.imwrite(heat, cv2.applyColorMap((found[0, 0].clip(0, 1) * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO))
