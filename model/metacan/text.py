"""The paper's prompts (appendix A, Table 5), which name no category, and CLIP's embeddings of them."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECT = "object"  # in place of a category
NORMAL_STATES = (
    "{}",
    "flawless {}",
    "perfect {}",
    "unblemished {}",
    "{} without flaw",
    "{} without defect",
    "{} without damage",
)
ABNORMAL_STATES = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
TEMPLATES = (
    "a cropped photo of the {}.",
    "a cropped photo of a {}.",
    "a close-up photo of a {}.",
    "a close-up photo of the {}.",
    "a bright photo of a {}.",
    "a bright photo of the {}.",
    "a dark photo of a {}.",
    "a dark photo of the {}.",
    "a jpeg corrupted photo of a {}.",
    "a jpeg corrupted photo of the {}.",
    "a blurry photo of the {}.",
    "a blurry photo of a {}.",
    "a photo of the {}.",
    "a photo of a {}.",
    "a photo of a small {}.",
    "a photo of the small {}.",
    "a photo of a large {}.",
    "a photo of the large {}.",
    "a photo of a {} for visual inspection.",
    "a photo of the {} for visual inspection.",
    "a photo of a {} for anomaly detection.",
    "a photo of the {} for anomaly detection.",
)


def prompts(states: Sequence[str], name: str = OBJECT) -> list[str]:
    """Every state of the object in every template."""
    return [template.format(state.format(name)) for state in states for template in TEMPLATES]


@torch.no_grad()
def text_rows(tower: Any, name: str = OBJECT) -> tuple[Tensor, Tensor]:
    """Embed the 154 normal and the 88 abnormal prompts by open_clip's text `tower`: float32 (n, embedding), raw.

    `name` is what the object is called: WinCLIP says the category's name, with the same prompts.
    """
    import open_clip  # not installed everywhere; the tower is of it

    tokenize = open_clip.SimpleTokenizer()
    normal, abnormal = (tower(tokenize(prompts(states, name))) for states in (NORMAL_STATES, ABNORMAL_STATES))
    return normal, abnormal


def mean_direction(rows: Tensor) -> Tensor:
    """Of raw rows (n, embedding) the mean of those brought to length 1, itself of length 1: (embedding,)."""
    return F.normalize(F.normalize(rows, dim=1).mean(dim=0), dim=0)
