"""A small folder of features: two tasks, in which an anomaly is a shift of the high level along one direction."""

from dataclasses import asdict

import numpy as np

from pipeline.shards import FEATURES, NewImage, write_features, write_manifest
from tests.model.clip_file import SMALL

TASKS = ("bottle", "screw")
SHIFT = 1.5
PARAMETERS = {"blocks": [1, 2, 4], "sizes": asdict(SMALL)}


def features(rng, anomalous):
    found = rng.standard_normal((len(anomalous), 3, SMALL.patches, SMALL.width))
    found[np.array(anomalous), 2, 0] += SHIFT * np.sqrt(SMALL.width) * (np.arange(SMALL.width) % 2)
    return found.astype(np.float16)


def write_small_features(root, clip_sha256=None, train=12, val=4):
    """Of each task and label so many images, in two shards to learn from and one to validate on."""
    entries, rng = [], np.random.default_rng(0)
    parts = [
        ("shard_0000", "train", train // 2),
        ("shard_0001", "train", train - train // 2),
        ("shard_0002", "val", val),
    ]
    for first, (name, split, count) in enumerate(parts):
        labels = [(task, anomalous) for task in TASKS for anomalous in (False, True) for _ in range(count)]
        images = [
            NewImage(anomalous, task, 1000 * first + number, f"{task}/{number}")
            for number, (task, anomalous) in enumerate(labels)
        ]
        made = features(rng, [image.anomalous for image in images])
        said = {"split": split, "fingerprint": name, "parameters": PARAMETERS | {"clip_sha256": clip_sha256}}
        entries.append(write_features(root, name, list(TASKS), images, made, said))
    return write_manifest(root, entries, form=FEATURES)
