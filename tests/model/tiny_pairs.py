"""Tiny shards of pairs for the tests of training: a noisy background, and a bright square that only one side has."""

from pathlib import Path

import numpy as np

from pipeline.shards import NO_DONOR, Pairs, write_manifest, write_shard


def square_pairs(count: int, side_px: int, seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 160, (count, 8, 8, 3), dtype=np.uint8)
    original = coarse.repeat(side_px // 8, axis=1).repeat(side_px // 8, axis=2)
    changed = original.copy()
    mask = np.zeros((count, side_px, side_px), np.uint8)
    for number in range(count):
        row, col = rng.integers(side_px // 4, side_px // 2, 2)
        square = np.s_[number, row : row + side_px // 4, col : col + side_px // 4]
        changed[square] = 255
        mask[square] = 1
    return Pairs(
        pair=np.stack([original, changed], axis=1),
        mask=mask,
        kind=(1 + np.arange(count) % 3).astype(np.uint8),
        image_id=1000 * seed + np.arange(count),
        donor_id=np.full(count, NO_DONOR),
    )


def write_square_shards(root: Path, side_px: int = 64) -> None:
    """Two shards to train on, of 5 and 3 pairs, and one of 3 to validate."""
    root.mkdir(parents=True, exist_ok=True)
    entries = [
        write_shard(root, name, square_pairs(count, side_px, seed), {"split": split, "fingerprint": name}, {})
        for seed, (name, split, count) in enumerate(
            [("shard_0000", "train", 5), ("shard_0001", "val", 3), ("shard_0002", "train", 3)], start=1
        )
    ]
    write_manifest(root, entries)
