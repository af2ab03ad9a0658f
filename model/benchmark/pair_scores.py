"""The network and the baselines on the held-out pairs, warped as in training or aligned as they are stored."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch.utils.data import default_collate

from configs.train import Augment
from model.benchmark.methods import Method
from model.pairs import PairDataset, Prepared, prepare
from model.pictures import Strip, take_turns, to_image
from model.scores import ALL, BLOCK, Row, Tally, pixel_level
from pipeline.progress import track
from pipeline.spread import spread

MAX_PAIRS = 512  # evenly spread over all; enough for a tenth of a point; a large set has thousands


@dataclass(frozen=True)
class PairBatch:
    """Prepared pairs, their kinds (positions in `PairDataset.kind_names`) and their places in the dataset."""

    views: Prepared
    kinds: list[int]
    indices: list[int]


def pair_batches(
    dataset: PairDataset, indices: Sequence[int], batch_size: int, augment: Augment | None, seed: int
) -> Iterator[PairBatch]:
    """Read pairs in batches: in the fixed views of validation, or aligned as they are stored if `augment` is None."""
    for start in range(0, len(indices), batch_size):
        batch = default_collate([dataset[index] for index in indices[start : start + batch_size]])
        yield PairBatch(prepare(batch, augment, seed, epoch=0), batch["kind"].tolist(), batch["index"].tolist())


@torch.inference_mode()
def score_pairs(
    methods: Mapping[str, Method],
    dataset: PairDataset,
    set_name: str,
    augment: Augment | None,
    seed: int,
    batch_size: int,
    device: torch.device,
) -> list[Row]:
    """Score each method on all chosen pairs together and, if they are warped, on each kind of change.

    Aligned, every kind is as trivial. Of a kind without any change there is nothing to score.

    Raises:
        Failure: a map holds NaN or infinity.
    """
    indices = spread(len(dataset), MAX_PAIRS)
    groups = (ALL, *dataset.kind_names)
    block = BLOCK // (len(groups) * len(methods))
    tallies = {(method, group): Tally(block) for group in groups for method in methods}
    batches = pair_batches(dataset, indices, batch_size, augment, seed)
    for batch in track(batches, f"evaluate {set_name}", ceil(len(indices) / batch_size)):
        prompt, query = batch.views.prompt.to(device), batch.views.query.to(device)
        valid = batch.views.valid.squeeze(1).numpy()
        masks = batch.views.mask.squeeze(1).numpy() & valid
        for name, look in methods.items():
            maps = look(prompt.unsqueeze(0))(query).float().cpu().numpy()
            names = [f"pair {index} ({name})" for index in batch.indices]
            tallies[name, ALL].add(maps, masks, valid=valid, names=names)
            for kind in set(batch.kinds):
                own = np.array(batch.kinds) == kind
                tallies[name, dataset.kind_names[kind]].add(maps[own], masks[own], valid=valid[own])
    return pixel_level(
        [
            Row(set_name, group, method, len(tally.images[1]), tally.scores())
            for (method, group), tally in tallies.items()
            if group == ALL or (augment is not None and tally.images[1].any())
        ]
    )


@torch.inference_mode()
def pair_sheet(
    method: Method, dataset: PairDataset, augment: Augment | None, seed: int, count: int, device: torch.device
) -> list[Strip]:
    """Show `count` pairs, kinds taking turns, in the views that are scored, with the maps of `method`."""
    indices = spread(len(dataset), MAX_PAIRS)
    kinds = [dataset.kind_names[dataset[index]["kind"]] for index in indices]
    places = take_turns(kinds, count)
    (batch,) = pair_batches(dataset, [indices[place] for place in places], len(places), augment, seed)
    maps = method(batch.views.prompt.unsqueeze(0).to(device))(batch.views.query.to(device)).float().cpu().numpy()
    truths = (batch.views.mask & batch.views.valid).squeeze(1).numpy()
    prompts, queries = (side.permute(0, 2, 3, 1).numpy() for side in (batch.views.prompt, batch.views.query))
    return [
        Strip(
            f"{kinds[place]}\npair {indices[place]}\nscore {shown.max():.2f}",
            to_image(prompt),
            to_image(query),
            truth,
            shown,
        )
        for place, prompt, query, truth, shown in zip(places, prompts, queries, truths, maps, strict=True)
    ]
