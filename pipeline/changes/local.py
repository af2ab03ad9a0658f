"""Local changes: textures of other images blended in under a Perlin mask (paper, section 3.3, after DRAEM)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from configs.synth import Local
from pipeline.arrays import Image, Mask
from pipeline.changes.perlin import PerlinMask, draw_perlin_mask, perlin_mask
from pipeline.changes.texture import TextureOperation, apply_texture, draw_texture
from pipeline.changes.visible import put


@dataclass(frozen=True)
class LocalDraw:
    """Everything about a local change but the images."""

    perlin: PerlinMask
    threshold: float
    textures: tuple[tuple[TextureOperation, ...], ...]  # one per donor image or file
    texture_weight: float  # of the textures in the blend, in (0, 1]
    files: tuple[str, ...] = ()  # what the textures are made of, in the folder of textures; none: donor images


def draw_local(rng: np.random.Generator, config: Local) -> LocalDraw:
    """Draw a local change."""
    return LocalDraw(
        perlin=draw_perlin_mask(rng, (config.min_scale_log2, config.max_scale_log2), config.rotate_deg),
        threshold=config.threshold,
        textures=tuple(draw_texture(rng) for _ in range(config.textures)),
        texture_weight=float(rng.uniform(config.texture_weight.low, config.texture_weight.high)),
    )


def apply_local(original: Image, donors: Sequence[Image], draw: LocalDraw) -> tuple[Image, Mask]:
    """The changed image and its mask.

    Args:
        original: uint8 (H, W, 3).
        donors: the images the textures are made of, one per texture of the draw, of the original's size.
        draw: what to do. With several textures, the 8-connected regions of the mask take them in turn.
    """
    mask = perlin_mask(draw.perlin, (original.shape[0], original.shape[1]), draw.threshold)
    changed = original
    for turn, (donor, operations) in enumerate(zip(donors, draw.textures, strict=True)):
        texture, weight = apply_texture(donor, operations), draw.texture_weight
        blend = np.asarray(cv2.addWeighted(texture, weight, original, 1 - weight, 0), np.uint8)
        changed = put(changed, blend, mask if len(donors) == 1 else _regions_of(mask, turn, len(donors)))
    return changed, mask


def _regions_of(mask: Mask, turn: int, turns: int) -> Mask:
    """Every `turns`-th region of a mask, from region `turn` on."""
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    return np.asarray(mask & (labels % turns == turn))
