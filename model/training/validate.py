"""What an epoch is worth: the validation pairs under views that never change, and pairs without any change."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from configs.train import Augment
from model.metauas import MetaUAS, pixel_losses
from model.pairs import as_images, draw, prepare, recolour
from model.training.feed import Batch
from model.training.pixel_ap import Thinned, pixel_aps, thinned

VALIDATION_EPOCH = 0  # of the draws; training counts from 1
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
    scored: list[Thinned] = []
    losses, valid = 0.0, 0  # of pixels, so that no figure depends on what makes a batch
    for batch in batches:
        views = prepare(batch, augment, seed, VALIDATION_EPOCH)
        logits = network(views.prompt, views.query)
        losses += float((pixel_losses(logits, views.mask) * views.valid).sum())
        valid += int(views.valid.sum())
        scored.append(thinned(logits, views.mask, views.valid, batch["kind"]))
    return {"val/loss": losses / valid} | pixel_aps(scored, kinds)


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
    originals = as_images(batch["pair"][:, 0])
    indices, prompt_is = batch["index"].tolist(), batch["prompt_is"].tolist()
    drawn = draw(augment, seed, VALIDATION_EPOCH, indices, prompt_is, *originals.shape[-2:])
    recoloured = recolour(originals, drawn.colour[:, 1], drawn.jitter)
    still = network.attention_statistics(network.encode(originals), network.encode(recoloured))
    entropies = {f"val/attention_entropy/level_{level}": entropy for level, (entropy, _) in warped.items()}
    return entropies | {f"val/self_match/level_{level}": share for level, (_, share) in still.items()}
