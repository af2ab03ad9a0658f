"""Which queries and pairs a picture sheet shows, and the pictures of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from configs.train import Augment
from model.benchmark import GOOD, Category, read_image, read_query, resize_image
from model.evaluate import Predicted, pair_batches
from model.pairs import PairDataset
from model.pictures import Strip
from pipeline.arrays import Image


def category_strips(
    category: Category, prompt: Path, predicted: Predicted, method: str, size: tuple[int, int], count: int
) -> list[Strip]:
    """Show `count` queries of a category with the maps of `method`, at the `size` = (H, W) they were predicted at."""
    prompt_image = resize_image(read_image(prompt), size)
    strips = []
    for place in spread(predicted.groups, count):
        query = category.queries[place]
        image = resize_image(read_query(query)[0], size)
        strips.append(_strip(f"{query.defect}\n{query.path.stem}", prompt_image, image, predicted, place, method))
    return strips


def pair_strips(
    dataset: PairDataset,
    indices: Sequence[int],
    predicted: Predicted,
    method: str,
    augment: Augment | None,
    seed: int,
    count: int,
) -> list[Strip]:
    """Show `count` of the pairs `indices`, in the views that were predicted, with the maps of `method`."""
    places = spread(predicted.groups, count)
    (batch,) = pair_batches(dataset, [indices[place] for place in places], len(places), augment, seed)
    prompts, queries = _to_images(batch.views.prompt), _to_images(batch.views.query)
    return [
        _strip(f"{predicted.groups[place]}\n{predicted.names[place]}", prompt, query, predicted, place, method)
        for place, prompt, query in zip(places, prompts, queries, strict=True)
    ]


def spread(groups: Sequence[str], count: int) -> list[int]:
    """Choose `count` places, fewer if there are not as many: the groups take turns, normal images first.

    Within a group the choice is random but always the same, since neighbours are often pairs of one photograph.
    """
    seen: dict[str, int] = {}
    turns = []
    for place in np.random.default_rng(0).permutation(len(groups)).tolist():
        group = groups[place]
        seen[group] = seen.get(group, 0) + 1
        turns.append((seen[group], group != GOOD, place))
    return sorted(place for _, _, place in sorted(turns)[:count])


def _strip(label: str, prompt: Image, query: Image, predicted: Predicted, place: int, method: str) -> Strip:
    shown = predicted.maps[method][place]
    return Strip(f"{label}\nscore {shown.max():.2f}", prompt, query, predicted.masks[place], shown)


def _to_images(batch: Tensor) -> list[Image]:
    """Float32 (B, 3, H, W) in [0, 1] as RGB uint8 (H, W, 3) images."""
    return list((batch.permute(0, 2, 3, 1) * 255).round().byte().numpy().astype(np.uint8, copy=False))
