"""Which images CLIP sees: those of a labelled benchmark, or both sides of our own pairs."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadRequest
from configs.features import Clip, Tasks
from model.encoders import sha256_of, sizes_of
from pipeline.progress import track
from pipeline.shards import FACTS, RECORDS, THE_ORIGINAL, Shard, open_shard, read_manifest

EVERY_TASK = "every task"  # group of normal images that all tasks share
ORIGINAL, CHANGED = range(2)
UNCHANGED = "unchanged"  # kind of pairs that have nothing anomalous
ID_BYTES = 6  # of a digest, as of files without a number of their own


@dataclass(frozen=True)
class Item:
    """An image that takes part."""

    split: str  # "train" or "val"
    group: str  # its task; EVERY_TASK: all of them
    anomalous: bool
    image_id: int  # images of one id show the same photograph
    name: str  # for people
    place: tuple[str, int, int] | str  # (shard, row, side) of a pair, or a file
    content: str  # digest of what is there, or of what it lies in


def of_benchmark(images: Iterable[tuple[str, Path, bool]], root: Path, val_share: float) -> list[Item]:
    """The items of labelled files (category, path, whether anomalous); of each category and label a share is for val.

    Which ones follows from their names alone: another seed makes no features again. A file is read once here, for its
    digest.

    Raises:
        BadRequest: a category has no anomalous image, or nothing is left to learn from or to validate on.
    """
    listed = list(images)
    by_part: dict[tuple[str, bool], list[Item]] = defaultdict(list)
    for group, path, anomalous in track(listed, "features files", len(listed)):
        name = path.absolute().relative_to(root.absolute()).as_posix()
        content = sha256_of(path)
        number = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:ID_BYTES])
        by_part[group, anomalous].append(Item("train", group, anomalous, number, name, str(path.absolute()), content))
    found = []
    for group in sorted({group for group, _ in by_part}):
        for anomalous in (False, True):
            items = sorted(by_part[group, anomalous], key=lambda item: _rank(item.name))
            held_back = round(val_share * len(items))
            if not held_back or held_back == len(items):
                what = "anomalous" if anomalous else "normal"
                raise BadRequest(
                    f"features: {group} has {len(items)} {what} images, of which features.clip.val_share = {val_share}"
                    " leaves none to learn from or none to validate on; wanted some of each"
                )
            found += [replace(item, split="val") for item in items[:held_back]] + items[held_back:]
    return found


def of_pairs(root: Path, tasks: Tasks) -> list[Item]:
    """The items of our own pairs: originals are normal, what was changed is anomalous.

    A task is a group of the pairs, and its normal images are those of the group; or a kind of change, or a category of
    the objects that were removed or pasted, and then the originals are all tasks'. A change of objects of several known
    categories, or of none, is in no task. A photograph that stands in several pairs of a shard is normal once. What a
    prompt of its own shows is left out.

    Raises:
        BadRequest: there are no pairs, or there is no task.
        Failure: what is there is no folder of pairs.
    """
    manifest = read_manifest(root)
    if tasks == "groups" and set(manifest.groups) == {""}:
        raise BadRequest(
            f"{root}: its pairs are of one group, of no name; set features.clip.tasks to kinds, or to categories"
        )
    where = manifest.where(root)
    found: list[Item] = []
    for entry in manifest.shards:
        shard = open_shard(where, manifest.key(entry))
        image_ids, prompt_is = np.asarray(shard.image_id[:]), np.asarray(shard.prompt_is[:])
        seen: set[int] = set()
        both = zip(_tasks_of_pairs(shard, entry.name, "kinds"), _tasks_of_pairs(shard, entry.name, tasks), strict=True)
        for row, (kind, task) in enumerate(both):
            photograph = int(image_ids[row])
            if prompt_is[row] == THE_ORIGINAL and photograph not in seen:
                seen.add(photograph)
                shared = str(task) if tasks == "groups" else EVERY_TASK
                found.append(_of_pair(entry.split, shared, photograph, entry.name, row, ORIGINAL, entry.sha256))
            if kind != UNCHANGED and task is not None:
                found.append(_of_pair(entry.split, task, photograph, entry.name, row, CHANGED, entry.sha256))
    if not any(item.anomalous for item in found):
        raise BadRequest(
            f"{root}: none of its pairs is changed and of a task; wanted some, so lower synth.unchanged_prob, or set"
            f" features.clip.tasks to another of groups, kinds and categories than {tasks}"
        )
    return found


def without_small_tasks(items: Sequence[Item], least: int) -> tuple[list[Item], dict[str, str]]:
    """The items of tasks with at least `least` anomalous photographs in train, one in val, and a normal one in both.

    Normal images that all tasks share stay. Beside them the other tasks, and how many anomalous photographs each has in
    train and val, as "3+1"; and normal ones, where these lack.

    Raises:
        BadRequest: no task is left.
    """
    photographs: dict[tuple[str, str, bool], set[int]] = defaultdict(set)
    for item in items:
        photographs[item.group, item.split, item.anomalous].add(item.image_id)
    small = {}
    tasks = sorted({item.group for item in items} - {EVERY_TASK})
    for task in tasks:
        bad, bad_held = (len(photographs[task, split, True]) for split in ("train", "val"))
        good, good_held = (
            len(photographs[task, split, False] | photographs[EVERY_TASK, split, False]) for split in ("train", "val")
        )
        if bad < least or not all((bad_held, good, good_held)):
            small[task] = f"{bad}+{bad_held}" + ("" if good and good_held else f", {good}+{good_held} normal")
    if len(small) == len(tasks):
        raise BadRequest(
            f"features: none of {len(tasks)} tasks has features.clip.least_photographs = {least} changed photographs to"
            f" learn from, one to validate on, and normal ones for both; the first, {tasks[0]}, has {small[tasks[0]]}"
        )
    return [item for item in items if item.group not in small], small


def made_with(clip: Clip, sha256: str) -> dict[str, Any]:
    """All that features hang on beside the images, as their shards keep it and as who learns from them wants it."""
    return {"blocks": clip.blocks, "sizes": asdict(sizes_of(clip.towers)), "clip_sha256": sha256}


def tasks_of(items: Sequence[Item]) -> list[str]:
    """The names of the groups, in the order of their numbers."""
    return sorted({item.group for item in items})


def _tasks_of_pairs(shard: Shard, name: str, tasks: Tasks) -> list[str | None]:
    """The task of each pair of a shard; None where it has none."""
    if tasks == "kinds":
        return [shard.kinds[number] for number in np.asarray(shard.kind[:])]
    if tasks == "groups":
        return [shard.groups[number] for number in np.asarray(shard.group[:])]
    if "names" not in shard.attributes:
        raise BadRequest(
            f"{name}: it does not say which objects were changed; wanted a shard of data/pairs, or set"
            " features.clip.tasks to kinds"
        )
    names = shard.attributes["names"]["categories"]
    changed = [record[FACTS]["categories"] for record in shard.attributes[RECORDS]]
    return [names.get(str(own[0]), str(own[0])) if len(own) == 1 else None for own in changed]


def _of_pair(split: str, group: str, image_id: int, shard: str, row: int, side: int, content: str) -> Item:
    name = f"{shard}[{row}] {('original', 'changed')[side]}"
    return Item(split, group, side == CHANGED, image_id, name, (shard, row, side), content)


def _rank(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
