"""The images of a split, by task, and what an outer step of meta-learning draws of a task."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from configs.errors import BadRequest, Failure
from model.features.items import EVERY_TASK
from model.metacan import Task
from pipeline.shards import FeaturesShard, child, open_features, read_attributes, read_manifest


@dataclass(frozen=True)
class Episode:
    """Places of a task's images in a `FeatureSet`; no photograph comes twice."""

    references: list[int]
    support: list[int]
    query: list[int]


class FeatureSet:
    """The images of one split of a folder of features; pixels' features stay on the disk until asked for.

    Raises:
        BadRequest: there is no such folder.
        Failure: the split is empty.
    """

    def __init__(self, root: Path, split: str) -> None:
        manifest = read_manifest(root)
        entries = [entry for entry in manifest.shards if entry.split == split]
        if not entries:
            raise Failure(f"{root}: no features of split {split}; run `dvc repro features`")
        self.digest = manifest.digest
        where = manifest.where(root)
        self._shards: list[FeaturesShard] = [open_features(where, manifest.key(entry)) for entry in entries]
        attributes = read_attributes(child(where, f"{manifest.key(entries[0])}.zarr"))
        self.parameters: dict[str, Any] = attributes["parameters"]  # what all were made with
        groups = [np.array(list(entry.groups))[shard.group] for entry, shard in zip(entries, self._shards, strict=True)]
        self.groups = np.concatenate(groups)
        self.anomalous = np.concatenate([shard.anomalous for shard in self._shards])
        self.image_id = np.concatenate([shard.image_id for shard in self._shards])
        self._ends = np.cumsum([len(shard.group) for shard in self._shards])
        self.tasks = sorted({str(name) for name in self.groups} - {EVERY_TASK})

    def __len__(self) -> int:
        return int(self._ends[-1])

    def places(self, task: str, *, anomalous: bool) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Of a task's images of one label, ascending; normal ones of every task are among them."""
        own = self.groups == task
        if not anomalous:
            own |= self.groups == EVERY_TASK
        return np.flatnonzero(own & (self.anomalous == anomalous))

    def read(self, places: Sequence[int]) -> Tensor:
        """Float32 (len(places), levels, patches, width)."""
        found = []
        for place in places:
            number = int(np.searchsorted(self._ends, place, side="right"))
            row = place - (int(self._ends[number - 1]) if number else 0)
            found.append(np.asarray(self._shards[number].features[row]))
        return torch.from_numpy(np.stack(found)).float()

    def labels(self, places: Sequence[int]) -> Tensor:
        """Int64 (len(places),), 1 where anomalous."""
        return torch.from_numpy(self.anomalous[list(places)].astype(np.int64))

    def task(self, episode: Episode) -> Task:
        """An episode with its features."""
        return Task(
            self.read(episode.references),
            self.read(episode.support),
            self.labels(episode.support),
            self.read(episode.query),
            self.labels(episode.query),
        )


def draw_episode(
    images: FeatureSet, task: str, rng: np.random.Generator, *, shots: int, support: int, query: int
) -> Episode:
    """Draw references, a support set and a query set of a task, half of each set anomalous, in random order.

    No photograph comes twice in an episode, be it under another label: the released code may draw one for all three.

    Raises:
        BadRequest: the task has too few photographs.
    """
    wanted = {True: (support + query) // 2, False: shots + (support + query) // 2}
    used: set[int] = set()
    drawn: dict[bool, list[int]] = {}
    for anomalous in (True, False):
        drawn[anomalous] = draw_places(images, task, rng, anomalous=anomalous, most=wanted[anomalous], used=used)
        if len(drawn[anomalous]) < wanted[anomalous]:
            what = "anomalous" if anomalous else "normal"
            raise BadRequest(
                f"train: task {task} has {len(drawn[anomalous])} {what} photographs for an episode, which takes"
                f" {wanted[anomalous]}; lower train.support, train.query or train.shots, or give it more images"
            )
    bad, good = drawn[True], drawn[False]
    half = support // 2
    sets = [bad[:half] + good[shots : shots + half], bad[half:] + good[shots + half :]]
    first, second = ([own[place] for place in rng.permutation(len(own))] for own in sets)
    return Episode(good[:shots], first, second)


def draw_places(
    images: FeatureSet,
    task: str,
    rng: np.random.Generator,
    *,
    anomalous: bool,
    most: int,
    used: set[int] | None = None,
) -> list[int]:
    """Draw at most `most` of a task's images of one label, of different photographs.

    Photographs that are `used` are left out; those that are drawn become such.
    """
    used = set() if used is None else used
    places = images.places(task, anomalous=anomalous)
    drawn: list[int] = []
    for place in places[rng.permutation(len(places))].tolist():
        if len(drawn) == most:
            break
        photograph = int(images.image_id[place])
        if photograph not in used:
            used.add(photograph)
            drawn.append(place)
    return drawn


def check_tasks(training: FeatureSet, held: FeatureSet) -> None:
    """Check that what is learned from can be validated: each task has normal and anomalous images held back.

    Raises:
        BadRequest: a task has none of a label, or is held back and not learned from.
    """
    alone = sorted(set(held.tasks) - set(training.tasks))
    if alone:
        raise BadRequest(f"train: task {alone[0]} has val images and none to learn from; leave it out, or add images")
    for task in training.tasks:
        for anomalous in (False, True):
            if not len(held.places(task, anomalous=anomalous)):
                what = "anomalous" if anomalous else "normal"
                raise BadRequest(
                    f"train: task {task} has no {what} val image; raise features.clip.val_share, or index.val_share"
                    " where pairs are learned from, or leave the task out"
                )
