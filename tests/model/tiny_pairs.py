"""Tiny shards of pairs for the tests of training: a noisy background, and a bright square that only one side has."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.shards.format import NO_DONOR, PROMPT, read_manifest, shard_path, write_manifest
from pipeline.shards.store import upload
from pipeline.shards.writer import Form, NewPair, write_shard

KINDS = ("unchanged", "inpaint", "paste", "local")
GROUPS = ("bottle", "screw")


def square_pairs(count: int, side_px: int, seed: int) -> Iterator[NewPair]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 160, (count, 8, 8, 3), dtype=np.uint8)
    for number in range(count):
        original = coarse[number].repeat(side_px // 8, axis=0).repeat(side_px // 8, axis=1)
        changed, mask = original.copy(), np.zeros((side_px, side_px), np.bool_)
        row, col = rng.integers(side_px // 4, side_px // 2, 2)
        square = np.s_[row : row + side_px // 4, col : col + side_px // 4]
        changed[square], mask[square] = 255, True
        yield NewPair(
            original, changed, mask, KINDS[1 + number % 3], GROUPS[number % 2], 1000 * seed + number, NO_DONOR, {}
        )


def form(side_px: int) -> Form:
    return Form((side_px, side_px), KINDS, GROUPS, {PROMPT: (side_px, side_px, 3)})


def write_square_shards(root: Path, side_px: int = 64) -> None:
    """Two shards to train on, of 5 and 3 pairs, and one of 3 to validate."""
    entries = [
        write_shard(
            root, name, form(side_px), square_pairs(count, side_px, seed), {"split": split, "fingerprint": name}, {}
        )
        for seed, (name, split, count) in enumerate(
            [("shard_0000", "train", 5), ("shard_0001", "val", 3), ("shard_0002", "train", 3)], start=1
        )
    ]
    write_manifest(root, entries)


def in_store(root: Path, url: str) -> None:
    """Move the shards of a folder to a URL; its manifest stays."""
    manifest = read_manifest(root)
    for entry in manifest.shards:
        upload(shard_path(root, entry.name), f"{url}/{entry.fingerprint[:32]}.zarr", last="zarr.json")
        shutil.rmtree(shard_path(root, entry.name))
    write_manifest(root, manifest.shards, url)
