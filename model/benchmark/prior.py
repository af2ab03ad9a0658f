"""WinCLIP+ (Jeong et al., CVPR 2023, section 4.3), and its visual prior alone, which MetaUAS*+ adds.

The image encoder of CLIP sees windows of 2 x 2 and 3 x 3 patches, each alone with the class token, and the whole image;
a query's place is as anomalous as its features are far from the most similar ones of the prompts:

    M = min over the prompts of (1 - cosine) / 2,   prior = (M_2x2 + M_3x3 + M_patches) / 3

A place takes the harmonic mean of the windows that cover it, as WinCLIP does. The paper says that the prior is "kept
exactly the same as WinCLIP+", whose scores are averaged, and publishes no code for it: here MetaUAS*+ is the mean of
both maps, and its image score, as everywhere, the highest pixel. What else is open a report says (`PRIOR` in
notes.py). The windows cost about 500 GFLOP an image: 10 seconds on two CPU cores.

WinCLIP+ itself, a baseline of MetaCAN's, scores an image by the mean of the prior's highest place and of what CLIP says
of the whole image and the texts of a normal and a damaged one, as the few-shot implementation does from which the table
of InCTRL, and so MetaCAN's, is.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.benchmark.baselines import memory_of
from model.benchmark.methods import Compare, Method, OwnScores
from model.encoders import WINDOWS, ClipSizes, VisualPrior, read_clip
from model.images import enlarge
from model.metacan import SHARPNESS, mean_direction, text_rows
from model.metauas import distance

EPSILON = 1e-6  # below every distance that matters; keeps a harmonic mean of zeros finite


def visual_prior(clip: VisualPrior) -> Method:
    """The prior as a method, in [0, 1]."""

    def look(prompts: Tensor) -> Compare:
        of_places = _places(clip, prompts)
        return lambda queries: enlarge(of_places(queries), queries)

    return look


def _places(clip: VisualPrior, prompts: Tensor) -> Compare:
    """The prior of queries' places, (B, rows, columns)."""
    memory = memory_of(clip(shot) for shot in prompts)

    def compare(queries: Tensor) -> Tensor:
        *windows, whole = (distance(features, own) / 2 for features, own in zip(clip(queries), memory, strict=True))
        maps = [spread_windows(one, side) for one, side in zip(windows, WINDOWS, strict=True)]
        return torch.stack([*maps, whole]).mean(dim=0)

    return compare


def winclip(clip: VisualPrior, text: Tensor) -> Method:
    """WinCLIP+; `text` float32 (2, embedding) is the direction of the normal and of the abnormal prompts."""

    def look(prompts: Tensor) -> Compare:
        of_places = _places(clip, prompts)

        def both(queries: Tensor) -> tuple[Tensor, Tensor]:
            places = of_places(queries)
            abnormal = (SHARPNESS * F.normalize(clip.whole(queries), dim=1) @ text.T).softmax(dim=1)[:, 1]
            return enlarge(places, queries), (places.amax(dim=(1, 2)) + abnormal) / 2

        return OwnScores(both)

    return look


def read_texts(path: str | None, names: Sequence[str], sizes: ClipSizes) -> dict[str, Tensor]:
    """The directions of the normal and the abnormal prompts, float32 (2, embedding), by the name that they say.

    Raises:
        BadRequest: the CLIP file is missing, or has no text tower.
    """
    tower = read_clip(path, "baseline winclip+", "evaluate.clip_weights").text_tower(sizes)
    return {
        name: torch.stack([mean_direction(rows) for rows in text_rows(tower, name.replace("_", " "))]) for name in names
    }


def spread_windows(scores: Tensor, side: int) -> Tensor:
    """Scores of windows (B, h, w) -> of patches (B, h + side - 1, w + side - 1): the harmonic mean around each."""
    ones = torch.ones(1, 1, side, side, device=scores.device)
    inverse = F.conv_transpose2d(1 / scores.clamp_min(EPSILON).unsqueeze(1), ones)
    covers = F.conv_transpose2d(torch.ones_like(scores[:1]).unsqueeze(1), ones)
    return (covers / inverse).squeeze(1)
