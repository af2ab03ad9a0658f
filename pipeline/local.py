"""Local changes: another image's texture blended in under a Perlin mask (paper, section 3.3, after DRAEM)."""

from dataclasses import dataclass

import numpy as np

from configs.section import Range
from pipeline.arrays import Image, Mask
from pipeline.perlin import PerlinMask, draw_perlin_mask, perlin_mask
from pipeline.texture import TextureOperation, apply_texture, draw_texture


@dataclass(frozen=True)
class LocalDraw:
    """Everything about a local change but the two images."""

    perlin: PerlinMask
    threshold: float
    texture: tuple[TextureOperation, ...]
    texture_weight: float  # of the texture in the blend, in (0, 1]


def draw_local(rng: np.random.Generator, max_scale_log2: int, threshold: float, texture_weight: Range) -> LocalDraw:
    """Draw a local change."""
    return LocalDraw(
        perlin=draw_perlin_mask(rng, max_scale_log2),
        threshold=threshold,
        texture=draw_texture(rng),
        texture_weight=float(rng.uniform(texture_weight.low, texture_weight.high)),
    )


def apply_local(original: Image, source: Image, draw: LocalDraw) -> tuple[Image, Mask]:
    """The changed image and its mask; `source` is the image the texture is made of, of the original's size."""
    mask = perlin_mask(draw.perlin, (original.shape[0], original.shape[1]), draw.threshold)
    texture = apply_texture(source, draw.texture)[mask]
    blend = draw.texture_weight * texture + (1 - draw.texture_weight) * original[mask]  # (pixels of the mask, 3)
    changed = original.copy()
    changed[mask] = np.rint(blend).astype(np.uint8)
    return changed, mask
