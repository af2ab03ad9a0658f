"""WinCLIP+'s visual prior (Jeong et al., CVPR 2023, section 4.3), which MetaUAS*+ adds (paper, section 4.1).

The image encoder of CLIP sees windows of 2 x 2 and 3 x 3 patches, each alone with the class token, and the whole image;
a query's place is as anomalous as its features are far from the most similar ones of the prompts:

    M = min over the prompts of (1 - cosine) / 2,   prior = (M_2x2 + M_3x3 + M_patches) / 3

A place takes the harmonic mean of the windows that cover it, as WinCLIP does. The paper says that the prior is "kept
exactly the same as WinCLIP+", whose scores are averaged, and publishes no code for it: here MetaUAS*+ is the mean of
both maps, and its image score, as everywhere, the highest pixel. What else is open a report says (`PRIOR` in
evaluation.py). The windows cost about 500 GFLOP an image: 10 seconds on two CPU cores.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.benchmark.baselines import memory_of
from model.benchmark.methods import Compare, Method
from model.encoders import WINDOWS, VisualPrior
from model.images import enlarge
from model.metauas import distance

EPSILON = 1e-6  # below every distance that matters; keeps a harmonic mean of zeros finite


def visual_prior(clip: VisualPrior) -> Method:
    """The prior as a method, in [0, 1]."""

    def look(prompts: Tensor) -> Compare:
        memory = memory_of(clip(shot) for shot in prompts)

        def compare(queries: Tensor) -> Tensor:
            *windows, whole = (distance(features, own) / 2 for features, own in zip(clip(queries), memory, strict=True))
            maps = [spread_windows(one, side) for one, side in zip(windows, WINDOWS, strict=True)]
            return enlarge(torch.stack([*maps, whole]).mean(dim=0), queries)

        return compare

    return look


def spread_windows(scores: Tensor, side: int) -> Tensor:
    """Scores of windows (B, h, w) -> of patches (B, h + side - 1, w + side - 1): the harmonic mean around each."""
    ones = torch.ones(1, 1, side, side, device=scores.device)
    inverse = F.conv_transpose2d(1 / scores.clamp_min(EPSILON).unsqueeze(1), ones)
    covers = F.conv_transpose2d(torch.ones_like(scores[:1]).unsqueeze(1), ones)
    return (covers / inverse).squeeze(1)
