"""Two methods without training, to be printed beside the network: what a score is worth shows against them."""

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.benchmark.methods import Compare, Encode, Method
from model.images import enlarge

BASELINES = ("pixel_difference", "patchcore")  # their names in tables
PATCHCORE_LEVELS = (2, 3)  # strides 8 and 16, the middle levels, as in PatchCore


def baselines(encode: Encode) -> dict[str, Method]:
    """Both by name, in the order of tables; `encode` is the network's own."""
    return dict(zip(BASELINES, (pixel_difference, patchcore(encode)), strict=True))


def pixel_difference(prompts: Tensor) -> Compare:
    """Mean absolute difference of the colour channels, in [0, 1]: right only where both views are aligned."""
    return lambda queries: (queries - prompts).abs().mean(dim=(0, 2))


def patchcore(encode: Encode, levels: Sequence[int] = PATCHCORE_LEVELS) -> Method:
    """PatchCore with the prompts alone as its memory: 1 - cosine similarity to the most similar patch, in [0, 2].

    The levels' maps are enlarged bilinearly and averaged. Unlike Roth et al. there is no coreset, as few images are
    small, and no re-weighting of the image score. The paper's PatchCore row has one prompt as well (appendix B).
    """

    def look(prompts: Tensor) -> Compare:
        memory = memory_of(_pick(encode(shot), levels) for shot in prompts)

        def compare(queries: Tensor) -> Tensor:
            maps = [
                enlarge(distance(features, patches), queries)
                for features, patches in zip(_pick(encode(queries), levels), memory, strict=True)
            ]
            return sum(maps[1:], maps[0]) / len(maps)

        return compare

    return look


def patches(features: Tensor) -> Tensor:
    """Features (B, C, h, w) as patches of length one (B, C, hw)."""
    return F.normalize(features.flatten(2), dim=1)


def memory_of(shots: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """One memory a level, (B, C, K n), of all patches of K shots, whose levels are (B, C, h, w) with n = h w each."""
    return [torch.cat([patches(level) for level in levels], dim=2) for levels in zip(*shots, strict=True)]


def distance(features: Tensor, memory: Tensor) -> Tensor:
    """1 - cosine similarity to the nearest patch: features (B, C, h, w), memory (B or 1, C, n) -> (B, h, w)."""
    batch, _, height, width = features.shape
    rows = patches(features).transpose(1, 2)  # (B, hw, C)
    # One query at a time: at 512 px one has 4,096 patches, and all similarities of a batch would take a gigabyte.
    nearest = [(row @ own).amax(dim=1) for row, own in zip(rows, memory.expand(batch, -1, -1), strict=True)]
    return 1 - torch.stack(nearest).view(batch, height, width)


def _pick(features: Sequence[Tensor], levels: Sequence[int]) -> list[Tensor]:
    return [features[level] for level in levels]
