"""Methods without training, to be printed beside the network: what a score is worth shows against them."""

from collections.abc import Iterable, Sequence
from math import isqrt

import torch
from torch import Tensor

from model.benchmark.methods import Compare, Encode, Method, of_references
from model.images import enlarge
from model.metacan import Comparison, MetaCAN
from model.metauas import distance, patches

PIXELS, PATCHCORE, LEVELS, WINCLIP = "pixel_difference", "patchcore", "levels", "winclip+"
BASELINES = (PIXELS, PATCHCORE, LEVELS, WINCLIP)  # their names in tables
PATCHCORE_LEVELS = (2, 3)  # strides 8 and 16, the middle levels, as in PatchCore
CLIP_LEVELS = (1, 2)  # after blocks 7 and 12


def baselines(encode: Encode) -> dict[str, Method]:
    """Both by name, in the order of tables; `encode` is the network's own."""
    return {PIXELS: pixel_difference, PATCHCORE: patchcore(encode)}


def clip_baselines(network: MetaCAN, encode: Encode) -> dict[str, Method]:
    """As `baselines`, on CLIP's tokens, with the floor of MetaCAN: its three levels without anything learned."""

    def levels(found: Comparison) -> Tensor:
        return torch.stack([found.low, found.mid, found.high]).mean(dim=0)

    def pyramid(images: Tensor) -> list[Tensor]:
        found = encode(images)
        side = isqrt(found.shape[2])
        return [level.transpose(1, 2).unflatten(2, (side, side)) for level in found.unbind(dim=1)]

    return {
        PIXELS: pixel_difference,
        PATCHCORE: patchcore(pyramid, CLIP_LEVELS),
        LEVELS: of_references(network, encode, levels),
    }


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


def memory_of(shots: Iterable[Sequence[Tensor]]) -> list[Tensor]:
    """One memory a level, (B, C, K n), of all patches of K shots, whose levels are (B, C, h, w) with n = h w each."""
    return [torch.cat([patches(level) for level in levels], dim=2) for levels in zip(*shots, strict=True)]


def _pick(features: Sequence[Tensor], levels: Sequence[int]) -> list[Tensor]:
    return [features[level] for level in levels]
