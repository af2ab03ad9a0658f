"""What an epoch is worth: the validation pairs under views that never change, and pairs without any change."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from configs.errors import Failure
from configs.train import Augment
from model.metauas import MetaUAS
from model.pairs import Prepared, draw, prepare, recolour
from model.scores import average_precision
from model.training.feed import Batch
from model.training.learner import pixel_losses

VALIDATION_EPOCH = 0  # of the draws; training counts from 1
SCORED_SIDE_PX = 64  # pixel AP pools about this many rows and columns a map, so that thousands of maps fit in memory
THRESHOLD = 0.5  # of the probability; above it a pixel counts as found


@torch.inference_mode()
def validate(
    network: MetaUAS, batches: Iterable[Batch], kinds: Sequence[str], augment: Augment, seed: int
) -> dict[str, float]:
    """The loss of all valid pixels, and the pixel AP of all pairs and by kind, of batches on the network's device.

    The loss is the mean over all valid pixels, however pairs are batched. `kinds` are the kinds' names, by number.

    Raises:
        Failure: no pair has a changed pixel.
    """
    scored: list[_Scored] = []
    losses, valid = 0.0, 0  # of pixels, so that no figure depends on what makes a batch
    for batch in batches:
        views = prepare(batch, augment, seed, VALIDATION_EPOCH)
        logits = network(views.prompt, views.query)
        losses += float((pixel_losses(logits, views.mask) * views.valid).sum())
        valid += int(views.valid.sum())
        scored.append(_scored(logits, views, batch["kind"]))
    every = _pixel_ap(scored, range(len(kinds)))
    if math.isnan(every):
        raise Failure("train: no changed pixel in the val pairs, so nothing to select by; raise index.val_share")
    point = {"val/loss": losses / valid, "val/pixel_ap/all": every}
    for kind, name in enumerate(kinds):
        if not math.isnan(score := _pixel_ap(scored, [kind])):
            point[f"val/pixel_ap/{name}"] = score
    return point


@torch.inference_mode()
def false_positives(network: MetaUAS, batches: Iterable[Batch], augment: Augment, seed: int) -> dict[str, float]:
    """What the network finds where nothing has changed: two views of each pair's original, apart in pose and colour.

    `images` is the share of pairs with a valid pixel above `THRESHOLD`, `pixels` the share of such pixels.
    """
    images, pixels = [], []
    for batch in batches:
        views = prepare(batch, augment, seed, VALIDATION_EPOCH, unchanged_share=1.0)
        found = (network(views.prompt, views.query).sigmoid() > THRESHOLD) & views.valid
        images += found.flatten(1).any(dim=1).tolist()
        pixels += (found.sum(dim=(1, 2, 3)) / views.valid.sum(dim=(1, 2, 3)).clamp(min=1)).tolist()
    return {"val/unchanged/images": float(np.mean(images)), "val/unchanged/pixels": float(np.mean(pixels))}


@torch.inference_mode()
def attention(network: MetaUAS, batch: Batch, augment: Augment, seed: int) -> dict[str, float]:
    """How each aligned level attends: its entropy (nats) under the views of validation, and its rate of self-matches.

    A self-match: a place of the stored original is matched with itself in a copy of other colours. Where this is far
    below 1, alignment brings features of the wrong place, whatever the decoder learns.
    """
    views = prepare(batch, augment, seed, VALIDATION_EPOCH)
    warped = network.attention_statistics(network.encode(views.prompt), network.encode(views.query))
    originals = batch["pair"][:, 0].permute(0, 3, 1, 2).float() / 255
    indices, prompt_is = batch["index"].tolist(), batch["prompt_is"].tolist()
    drawn = draw(augment, seed, VALIDATION_EPOCH, indices, prompt_is, *originals.shape[-2:])
    recoloured = recolour(originals, drawn.colour[:, 1], drawn.jitter)
    still = network.attention_statistics(network.encode(originals), network.encode(recoloured))
    entropies = {f"val/attention_entropy/level_{level}": entropy for level, (entropy, _) in warped.items()}
    return entropies | {f"val/self_match/level_{level}": share for level, (_, share) in still.items()}


@dataclass(frozen=True)
class _Scored:
    """A thinned batch."""

    scores: npt.NDArray[np.float32]  # (B, h, w)
    labels: npt.NDArray[np.bool_]  # (B, h, w)
    valid: npt.NDArray[np.bool_]  # (B, h, w)
    kind: npt.NDArray[np.int64]  # (B,)

    def of(self, kinds: Sequence[int]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Scores and labels of the valid pixels of pairs of these kinds."""
        kept = self.valid & np.isin(self.kind, list(kinds))[:, None, None]
        return self.scores[kept], self.labels[kept]


def _scored(logits: Tensor, views: Prepared, kind: Tensor) -> _Scored:
    every = max(1, logits.shape[-1] // SCORED_SIDE_PX)
    thin = (slice(None), 0, slice(every // 2, None, every), slice(every // 2, None, every))
    return _Scored(
        scores=logits[thin].float().cpu().numpy(),
        labels=views.mask[thin].cpu().numpy(),
        valid=views.valid[thin].cpu().numpy(),
        kind=kind.cpu().numpy(),
    )


def _pixel_ap(scored: Sequence[_Scored], kinds: Sequence[int]) -> float:
    """Average precision over the pixels of all pairs of these kinds; NaN where none of them is changed."""
    scores, labels = zip(*(batch.of(kinds) for batch in scored), strict=True)
    return average_precision(np.concatenate(scores), np.concatenate(labels))
