"""A benchmark in MVTec's layout, and a network that needs no training for it."""

import cv2
import numpy as np
import torch
from torch import nn

from configs.evaluate import Evaluate

SIZE = (32, 64)
DEFAULTS = {
    "layout": "mvtec",
    "root": "",
    "lists": None,
    "categories": None,
    "limit": None,
    "size_px": None,
    "protocol": "exact",
    "variants": ["one"],
    "shots": 1,
    "shots_mean": "maps",
    "seeds": 1,
    "prompts": None,
    "clip_weights": None,
    "batch_size": 3,
    "keep_memory": False,
    "keep_aspect": False,
    "scales": [1.0],
    "image_score": "max",
    "sheet_rows": 2,
}


def settings(root, **changes):
    return Evaluate.model_validate(DEFAULTS | {"root": str(root)} | changes)


def make_category(folder, grey=100, normals=5, good=3, bad=4):
    """Grey images, each normal one a little brighter; the defective ones have a white square of whole pixels."""
    for part, count in (("train/good", normals), ("test/good", good), ("test/spot", bad), ("ground_truth/spot", bad)):
        (folder / part).mkdir(parents=True)
        for number in range(count):
            start = 0 if part.startswith("ground") else grey + (number if part.startswith("train") else 0)
            image = np.full((2 * SIZE[0], 2 * SIZE[1], 3), start, np.uint8)
            if part.endswith("spot"):
                image[16:32, 40 : 56 + 8 * number] = 255
            cv2.imwrite(str(folder / part / f"{number:03}.png"), image)


class Network(nn.Module):
    """Logits are high where the query is brighter than the prompt; its features are the mean colours."""

    unaligned = 0

    def __init__(self):
        super().__init__()
        self.eval()
        self.size = SIZE
        self.encoded = []
        self.encoder = nn.Linear(2, 3)
        self.scale = nn.Parameter(torch.tensor(20.0))

    def encode(self, images):
        self.encoded.append(len(images))
        grey = images.mean(dim=1, keepdim=True)
        return (grey, grey, grey, torch.cat([grey, 1 - grey], dim=1))

    def compare(self, prompt, query):
        return self.scale * (query[0] - prompt[0]) - 5
