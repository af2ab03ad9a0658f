"""Which images CLIP sees: those of a labelled benchmark, or both sides of our own pairs."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadRequest
from configs.features import Clip
from model.encoders import sha256_of, sizes_of
from pipeline.progress import track
from pipeline.shards import THE_ORIGINAL, open_shard, read_manifest

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


def of_pairs(root: Path, *, by_kind: bool) -> list[Item]:
    """The items of our own pairs: originals are normal, what was changed is anomalous.

    A task is a kind of change, and the originals are all tasks'; or it is a group of the pairs. A photograph that
    stands in several pairs of a shard is normal once. What a prompt of its own shows is left out.

    Raises:
        BadRequest: there are no pairs, or there is no task.
        Failure: what is there is no folder of pairs.
    """
    manifest = read_manifest(root)
    if not by_kind and set(manifest.groups) == {""}:
        raise BadRequest(f"{root}: its pairs are of one group, of no name; set features.clip.tasks to kinds")
    where = manifest.where(root)
    found: list[Item] = []
    for entry in manifest.shards:
        shard = open_shard(where, manifest.key(entry))
        kind, group = np.asarray(shard.kind[:]), np.asarray(shard.group[:])
        image_ids, prompt_is = np.asarray(shard.image_id[:]), np.asarray(shard.prompt_is[:])
        seen: set[int] = set()
        for row in range(entry.pairs):
            own, photograph = shard.kinds[kind[row]], int(image_ids[row])
            task = own if by_kind else shard.groups[group[row]]
            if prompt_is[row] == THE_ORIGINAL and photograph not in seen:
                seen.add(photograph)
                shared = EVERY_TASK if by_kind else task
                found.append(_of_pair(entry.split, shared, photograph, entry.name, row, ORIGINAL, entry.sha256))
            if own != UNCHANGED:
                found.append(_of_pair(entry.split, task, photograph, entry.name, row, CHANGED, entry.sha256))
    if not any(item.anomalous for item in found):
        raise BadRequest(f"{root}: none of its pairs is changed; wanted some, so lower synth.unchanged_prob")
    return found


def made_with(clip: Clip, sha256: str) -> dict[str, Any]:
    """All that features hang on beside the images, as their shards keep it and as who learns from them wants it."""
    return {"blocks": clip.blocks, "sizes": asdict(sizes_of(clip.towers)), "clip_sha256": sha256}


def tasks_of(items: Sequence[Item]) -> list[str]:
    """The names of the groups, in the order of their numbers."""
    return sorted({item.group for item in items})


def _of_pair(split: str, group: str, image_id: int, shard: str, row: int, side: int, content: str) -> Item:
    name = f"{shard}[{row}] {('original', 'changed')[side]}"
    return Item(split, group, side == CHANGED, image_id, name, (shard, row, side), content)


def _rank(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
