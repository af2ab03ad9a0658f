"""Two views of a pair: prompt and query warped and coloured apart, on the batch, on its device (paper, section 3.3).

Draws are apart from what they do: `draw` takes seeds and gives numbers, everything else takes numbers.

Strengths and the way labels survive two warps follow CYWS. What differs from it:

- A pair is warped as it is stored, stretched to its final size; CYWS warps photographs in their own shape and stretches
  afterwards. Of a 4:3 photograph a turn is therefore slanted here.
- What a warp leaves empty is reflected and not looked at; CYWS smears the border, and looks.
- `jitter: published` adds brightness and scales contrast about black as CYWS does. Hue turns about the grey axis and
  saturation is about the luma, where CYWS works in HSV; the order is fixed, CYWS draws it for each picture; values are
  clamped once, there after each of four changes. `jitter: mean_grey` is another form, half as strong at equal numbers.

kornia warps. Colours stay here: one matrix a picture is eight times faster on a CPU than kornia's chain of four
adjustments, and clamps once instead of four times. So do the draws: kornia's come from a batch's common generator, and
the views of a pair would depend on its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from kornia.geometry.transform import warp_affine
from torch import Tensor

from configs.train import Augment, Jitter
from pipeline.shards import ELSEWHERE, THE_ORIGINAL

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
SIDES = 2  # prompt, query


@dataclass(frozen=True)
class Prepared:
    """What the network is trained and scored on."""

    prompt: Tensor  # float32 (B, 3, H, W) RGB in [0, 1]
    query: Tensor  # float32 (B, 3, H, W) RGB in [0, 1]
    mask: Tensor  # bool (B, 1, H, W), True where the query shows a change that the prompt's view covers
    valid: Tensor  # bool (B, 1, H, W), False where loss and scores must not look


@dataclass(frozen=True)
class Draws:
    """The random numbers of B pairs; side 0 is the prompt, side 1 the query."""

    swap: npt.NDArray[np.bool_]  # (B,) True: the changed image is the prompt
    unchanged: npt.NDArray[np.bool_]  # (B,) True: the original is both prompt and query, and nothing has changed
    warp: npt.NDArray[np.float64]  # (B, 2, 2, 3) stored -> seen, pixels from the image's centre, x before y
    colour: npt.NDArray[np.float64]  # (B, 2, 4) factors of brightness, contrast, saturation; hue in turns
    elsewhere: npt.NDArray[np.bool_]  # (B,) True: the prompt shows another place, and need not cover what is found
    jitter: Jitter  # what the factors mean, see `recolour`

    def of(self, rows: slice) -> "Draws":
        """The numbers of some of the pairs."""
        of_rows = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "jitter"}
        return replace(self, **of_rows)


def prepare(
    batch: Mapping[str, Tensor], augment: Augment | None, seed: int, epoch: int, unchanged_share: float = 0.0
) -> Prepared:
    """Turn a batch of `PairDataset` into network input, on the device of its pixels.

    The views of a pair depend on `[seed, epoch, batch["index"]]` alone, never on its neighbours in the batch.
    Validation passes epoch 0, which training never does, and so sees the same views each time.

    Args:
        batch: "pair" uint8 (B, 2, H, W, 3), "mask" uint8 (B, H, W), "index" and "prompt_is" int64 (B,).
        augment: strength of the views; None: the pair as it is stored, aligned pixel by pixel.
        seed: of the run.
        epoch: from 1 in training, 0 in validation.
        unchanged_share: chance that a pair is replaced by two views of its original, with an empty mask.
    """
    pair, mask = batch["pair"], batch["mask"]
    if augment is None:
        images, mask = as_images(pair), mask.bool().unsqueeze(1)
        return Prepared(images[:, 0], images[:, 1], mask, torch.ones_like(mask))
    height, width = mask.shape[-2:]
    prompt_is = batch["prompt_is"].tolist()
    draws = draw(augment, seed, epoch, batch["index"].tolist(), prompt_is, height, width, unchanged_share)
    return views(pair, mask, draws)


def draw(
    augment: Augment,
    seed: int,
    epoch: int,
    indices: list[int],
    prompt_is: list[int],
    height: int,
    width: int,
    unchanged_share: float = 0.0,
) -> Draws:
    """Draw the views of the pairs `indices`, whose prompts are what `prompt_is` says (THE_ORIGINAL, ..).

    Only where the prompt is the original may the two change places: another normal picture is always the prompt.
    """
    swap, warp, colour, unchanged = [], [], [], []
    for index in indices:
        rng = np.random.default_rng([seed, epoch, index])
        swap.append(rng.random() < 0.5)
        warp.append([_draw_warp(augment, rng, height, width) for _ in range(SIDES)])
        colour.append([_draw_colour(augment, rng) for _ in range(SIDES)])
        unchanged.append(rng.random() < unchanged_share)
    kept = np.array(prompt_is)
    swapped = np.array(swap) & (kept == THE_ORIGINAL)
    unlike = kept == ELSEWHERE
    return Draws(swapped, np.array(unchanged), np.array(warp), np.array(colour), unlike, augment.jitter)


def views(pair: Tensor, mask: Tensor, draws: Draws) -> Prepared:
    """Apply draws to pairs as they are stored; see `see` and `label`."""
    return Prepared(*see(pair, draws), *label(mask, draws))


def see(pair: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """What is seen of `pair` uint8 (B, 2, H, W, 3) [original, changed]: prompt and query as in `Prepared`."""
    images = as_images(pair)
    changed_side = np.stack([draws.swap, ~draws.swap], axis=1) & ~draws.unchanged[:, None]  # (B, 2)
    sides = _tensor(changed_side.astype(np.int64), images.device)
    images = images[torch.arange(len(images), device=images.device)[:, None], sides]
    colours = draws.colour.reshape(-1, 4)  # (B, 2, 4) -> (2B, 4)
    coloured = recolour(images.flatten(0, 1), colours, draws.jitter)  # (B, 2, 3, H, W) -> (2B, 3, H, W)
    warped = warp(coloured, draws.warp.reshape(-1, 2, 3)).view_as(images)  # (2B, ...) -> (B, 2, 3, H, W)
    return warped[:, 0], warped[:, 1]


def label(mask: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """What of `mask` uint8 (B, H, W) is to be found: mask and valid as in `Prepared`.

    The mask is carried to the query's frame and kept where the prompt's frame covers the same point (CYWS: intersection
    of both views). Left out of loss and scores (`valid` False) are changes that the prompt does not cover, which nobody
    could call a change, and the reflections that fill the query's border, whose label would be a guess. A prompt that
    shows another place covers nothing of the query, and what it is compared with is its whole surface.
    """
    mask = mask.bool().unsqueeze(1)  # (B, H, W) -> (B, 1, H, W)
    mask = mask & ~_tensor(draws.unchanged, mask.device).view(-1, 1, 1, 1)
    to_prompt, to_query = draws.warp[:, 0], draws.warp[:, 1]
    changed = warp(mask.float(), to_query, mode="nearest") > 0.5
    in_query = _inside(_invert(to_query), mask)
    in_prompt = _inside(_compose(to_prompt, _invert(to_query)), mask)
    in_prompt = in_prompt | _tensor(draws.elsewhere, mask.device).view(-1, 1, 1, 1)
    return changed & in_query & in_prompt, in_query & ~(changed & ~in_prompt)


def warp(images: Tensor, matrices: npt.NDArray[np.float64], mode: str = "bilinear") -> Tensor:
    """Warp `images` float32 (N, C, H, W) by `matrices` (N, 2, 3); what comes from outside the frame is reflected.

    Images and masks are filled alike: a reflected object without a reflected label would teach to overlook it.
    """
    height, width = images.shape[-2:]
    centre = np.array([[(width - 1) / 2], [(height - 1) / 2]])  # of the pixels' numbers, from 0
    linear = matrices[..., :2]
    from_corner = np.concatenate([linear, matrices[..., 2:] + centre - linear @ centre], axis=-1)
    sent = _tensor(from_corner, images.device)
    # With align_corners=False kornia's pixels are half a pixel off (its matrices are scaled by side - 1).
    return warp_affine(images, sent, (height, width), mode, padding_mode="reflection", align_corners=True)


def recolour(images: Tensor, factors: npt.NDArray[np.float64], jitter: Jitter) -> Tensor:
    """Change brightness, contrast, saturation and hue of `images` float32 (N, 3, H, W) by `factors` (N, 4).

    All four, in this order, are linear in RGB, so they are one matrix and one offset a picture, clamped to [0, 1] once.
    By "published" brightness is added (a factor of 1.1 adds 0.1) and contrast scales all values, that is about black;
    by "mean_grey" brightness scales and contrast is about the picture's mean grey, which moves a pixel half as far.
    """
    brightness, contrast, saturation, hue = factors.T[..., None, None]  # each (N, 1, 1)
    luma = np.tile(LUMA, (3, 1))
    matrix = _rotate_hue(hue) @ (saturation * np.eye(3) + (1 - saturation) * luma)  # keeps grey as it is
    if jitter == "published":
        scale, offset = contrast, _tensor(contrast * (brightness - 1), images.device)
    else:
        grey = torch.einsum("nchw,c->n", images, _tensor(np.array(LUMA), images.device)) / images[0, 0].numel()
        scale = brightness * contrast
        offset = _tensor(brightness * (1 - contrast), images.device) * grey.view(-1, 1, 1)
    mixed = _tensor(scale * matrix, images.device) @ images.flatten(2)  # (N, 3, H, W) -> (N, 3, HW)
    return (mixed + offset).clamp(0, 1).view_as(images)


def _draw_warp(augment: Augment, rng: np.random.Generator, height: int, width: int) -> npt.NDArray[np.float64]:
    """Scale each axis, rotate, then shift: float64 (2, 3), in pixels from the centre."""
    scale = rng.uniform(augment.scale.low, augment.scale.high, 2)  # CYWS draws the two axes apart
    angle = np.deg2rad(rng.uniform(-augment.rotate_deg, augment.rotate_deg))
    shift = rng.uniform(-augment.translate_share, augment.translate_share, 2) * (width, height)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([rotation * scale, shift[:, None]], axis=1)


def _draw_colour(augment: Augment, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    strength = np.array([augment.brightness, augment.contrast, augment.saturation, augment.hue])
    neutral = np.array([1.0, 1.0, 1.0, 0.0])
    drawn: npt.NDArray[np.float64] = neutral + strength * rng.uniform(-1, 1, 4)
    return drawn


def _rotate_hue(turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotations (N, 3, 3) of RGB about the grey axis by `turns` (N, 1, 1) (Rodrigues' formula)."""
    angle = 2 * np.pi * turns
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    rotation: npt.NDArray[np.float64] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def _inside(matrices: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    """Where `matrices` (N, 2, 3) send a pixel's centre into the frame of `like` (N, 1, H, W): bool (N, 1, H, W)."""
    height, width = like.shape[-2:]
    x = torch.arange(width, device=like.device) + 0.5 - width / 2
    y = torch.arange(height, device=like.device) + 0.5 - height / 2
    m = _tensor(matrices, like.device)[..., None, None]  # (N, 2, 3, 1, 1)
    sent_x = m[:, 0, 0] * x + m[:, 0, 1] * y[:, None] + m[:, 0, 2]  # (N, H, W)
    sent_y = m[:, 1, 0] * x + m[:, 1, 1] * y[:, None] + m[:, 1, 2]
    return ((sent_x.abs() < width / 2) & (sent_y.abs() < height / 2)).unsqueeze(1)


def _compose(outer: npt.NDArray[np.float64], inner: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`inner`, then `outer`; each (N, 2, 3)."""
    linear = outer[..., :2] @ inner
    linear[..., 2] += outer[..., 2]
    return linear


def _invert(matrices: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The way back of `matrices` (N, 2, 3)."""
    linear = np.linalg.inv(matrices[..., :2])
    return np.concatenate([linear, -linear @ matrices[..., 2:]], axis=-1)


def as_images(pixels: Tensor) -> Tensor:
    """Stored uint8 (.., H, W, 3) as float32 (.., 3, H, W) in [0, 1]."""
    return pixels.movedim(-1, -3).float() / 255


def _tensor(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Numbers for a device, floats as float32; a GPU fetches them when it gets there, and nobody waits for it."""
    numbers = torch.from_numpy(values)
    numbers = numbers.float() if values.dtype == np.float64 else numbers
    return (numbers.pin_memory() if device.type == "cuda" else numbers).to(device, non_blocking=True)
