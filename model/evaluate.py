"""Maps and scores of several methods on a benchmark and on validation pairs, under the same prompts and views."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import default_collate

from configs.train import Augment
from model.augment import Prepared, prepare
from model.baselines import Compare, Method
from model.benchmark import Category, read_image, read_query, resize_image, resize_mask
from model.metauas import MetaUAS
from model.metrics import Maps, Masks, Scores, score
from model.pairs import PairDataset
from pipeline.arrays import Image
from pipeline.shards import KINDS

T = TypeVar("T")

MEAN = "mean"  # name of the row over all categories
ALL = "all"  # name of the row over all kinds of pairs
MAX_PAIRS = 512  # every map of a set is held at once: 3 methods at 256 px are then 400 MB


@dataclass(frozen=True)
class Predicted:
    """Maps of each method for N images, and what they are scored against."""

    maps: Mapping[str, Maps]  # by method, float32 (N, H, W)
    masks: Masks  # bool (N, H, W)
    valid: Masks  # bool (N, H, W), False where scores must not look
    labels: Masks  # bool (N,), True for an anomalous image
    groups: tuple[str, ...]  # of each image: its defect or its kind of change
    names: tuple[str, ...]  # of each image, for errors


@dataclass(frozen=True)
class PairBatch:
    """Prepared pairs, their kinds (positions in `KINDS`) and their places in the dataset."""

    views: Prepared
    kinds: list[int]
    indices: list[int]


@dataclass(frozen=True)
class Row:
    """One line of the results: a method on a part of a set."""

    set_name: str
    category: str
    method: str
    images: int
    scores: Scores


def network(model: MetaUAS) -> Method:
    """The trained network as a method: probability of a change in [0, 1]."""

    def look(prompts: Tensor) -> Compare:
        features = model.encode(prompts)

        def compare(queries: Tensor) -> Tensor:
            return model.compare(features, model.encode(queries)).sigmoid().squeeze(1)

        return compare

    return look


def draw_prompt(category: Category, seed: int) -> Path:
    """Draw the one normal image that all queries of a category are compared with (paper, section 4.1).

    It depends on the seed and the category's name alone, not on which other categories are there.
    """
    rng = np.random.default_rng([seed, crc32(category.name.encode())])
    return category.normals[rng.integers(len(category.normals))]


@torch.inference_mode()
def predict_category(
    methods: Mapping[str, Method],
    category: Category,
    prompt: Path,
    size: tuple[int, int],
    batch_size: int,
    device: torch.device,
) -> Predicted:
    """Predict all queries of a category at `size` = (H, W) pixels, images and masks stretched to it.

    Raises:
        Failure: an image or mask cannot be read, or the two differ in size.
    """
    compare = {
        name: look(_to_tensor([resize_image(read_image(prompt), size)], device)) for name, look in methods.items()
    }
    maps: dict[str, list[Maps]] = {name: [] for name in methods}
    masks = []
    for queries in _batches(category.queries, batch_size):
        images = []
        for image, mask in map(read_query, queries):
            images.append(resize_image(image, size))
            masks.append(resize_mask(mask, size))
        batch = _to_tensor(images, device)
        for name, predict in compare.items():
            maps[name].append(predict(batch).float().cpu().numpy())
    return Predicted(
        maps={name: np.concatenate(parts) for name, parts in maps.items()},
        masks=np.stack(masks),
        valid=np.ones((len(masks), *size), np.bool_),
        # By folder, as in the published lists: a thin defect may vanish from a small mask.
        labels=np.array([query.mask_path is not None for query in category.queries]),
        groups=tuple(query.defect for query in category.queries),
        names=tuple(str(query.path) for query in category.queries),
    )


def choose_pairs(count: int) -> list[int]:
    """Choose at most `MAX_PAIRS` of `count` pairs, evenly spread."""
    return [int(place) for place in np.linspace(0, count - 1, min(count, MAX_PAIRS))]


def pair_batches(
    dataset: PairDataset, indices: Sequence[int], batch_size: int, augment: Augment | None, seed: int
) -> Iterator[PairBatch]:
    """Read pairs in batches: in the fixed views of validation, or aligned as they are stored if `augment` is None."""
    for some in _batches(indices, batch_size):
        batch = default_collate([dataset[index] for index in some])
        yield PairBatch(prepare(batch, augment, seed, epoch=0), batch["kind"].tolist(), batch["index"].tolist())


@torch.inference_mode()
def predict_pairs(methods: Mapping[str, Method], batches: Iterable[PairBatch], device: torch.device) -> Predicted:
    """Predict prepared pairs, each query with its own prompt."""
    maps: dict[str, list[Maps]] = {name: [] for name in methods}
    masks, valid, groups, names = [], [], [], []
    for batch in batches:
        prompt, query = batch.views.prompt.to(device), batch.views.query.to(device)
        for name, look in methods.items():
            maps[name].append(look(prompt)(query).float().cpu().numpy())
        masks.append((batch.views.mask & batch.views.valid).squeeze(1).numpy())
        valid.append(batch.views.valid.squeeze(1).numpy())
        groups += [KINDS[kind] for kind in batch.kinds]
        names += [f"pair {index}" for index in batch.indices]
    return Predicted(
        maps={name: np.concatenate(parts) for name, parts in maps.items()},
        masks=np.concatenate(masks),
        valid=np.concatenate(valid),
        labels=np.concatenate(masks).any(axis=(1, 2)),
        groups=tuple(groups),
        names=tuple(names),
    )


def score_whole(set_name: str, category: str, predicted: Predicted) -> list[Row]:
    """Score every method on all images together.

    Raises:
        Failure: a map holds NaN or infinity.
    """
    rows = []
    for method, maps in predicted.maps.items():
        names = [f"{name} ({method})" for name in predicted.names]
        scores = score(maps, predicted.masks, valid=predicted.valid, labels=predicted.labels, names=names)
        rows.append(Row(set_name, category, method, len(names), scores))
    return rows


def score_groups(set_name: str, predicted: Predicted) -> list[Row]:
    """Score every method on the images of each group that holds an anomalous one."""
    groups = np.array(predicted.groups)
    rows = []
    for group in sorted(set(groups[predicted.labels].tolist())):
        rows += score_whole(set_name, group, _select(predicted, np.flatnonzero(groups == group)))
    return rows


def mean_rows(rows: Sequence[Row]) -> list[Row]:
    """The plain mean over categories, a row for each method; NaN if a category's score is undefined."""
    means = []
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        scores = Scores(
            **{field.name: float(np.mean([getattr(row.scores, field.name) for row in own])) for field in fields(Scores)}
        )
        means.append(Row(own[0].set_name, MEAN, method, sum(row.images for row in own), scores))
    return means


def pixel_level(rows: Sequence[Row]) -> list[Row]:
    """The rows without image-level scores: nearly every pair is changed, so telling images apart means nothing."""
    undefined = {field.name: math.nan for field in fields(Scores) if field.name.startswith("i_")}
    return [replace(row, scores=replace(row.scores, **undefined)) for row in rows]


def _select(predicted: Predicted, places: npt.NDArray[np.intp]) -> Predicted:
    return Predicted(
        maps={name: maps[places] for name, maps in predicted.maps.items()},
        masks=predicted.masks[places],
        valid=predicted.valid[places],
        labels=predicted.labels[places],
        groups=tuple(predicted.groups[place] for place in places),
        names=tuple(predicted.names[place] for place in places),
    )


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _to_tensor(images: Sequence[Image], device: torch.device) -> Tensor:
    """RGB uint8 (H, W, 3) images as float32 (B, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2).float() / 255
