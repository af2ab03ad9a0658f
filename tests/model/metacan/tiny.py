"""A small MetaCAN with random weights, features and tasks for it, and its checkpoint as training writes them."""

import numpy as np
import torch

from model.metacan.checkpoint import CHECKPOINT, CHECKPOINT_VERSION
from model.metacan.meta import Task
from model.metacan.network import MetaCAN
from model.metauas.metadata import STATE_PREFIX
from tests.model.clip_file import SMALL

ARGUMENTS = {"blocks": (1, 2, 4), "hidden": 20, "sizes": SMALL}


def normal(key, shape):
    return torch.from_numpy(np.random.default_rng(key).standard_normal(shape).astype(np.float32))


def tiny(seed=0, **arguments):
    torch.manual_seed(seed)
    network = MetaCAN(**ARGUMENTS | arguments)
    if network.detector is not None:
        network.set_text(normal([seed, 0], (7, SMALL.embedding)), normal([seed, 1], (4, SMALL.embedding)))
    return network


def features(seed, count):
    return normal([seed, count, 2], (count, 3, SMALL.patches, SMALL.width))


def labels(count):
    return torch.arange(count) % 2


def task(seed, support=4, query=6):
    return Task(
        features(seed, 2), features(seed + 100, support), labels(support), features(seed + 200, query), labels(query)
    )


def save(path, network):
    state = {f"{STATE_PREFIX}{key}": value for key, value in network.state_dict().items()}
    said = {"version": CHECKPOINT_VERSION, "network": network.arguments}
    torch.save({CHECKPOINT: said, "state_dict": state}, path)
    return path
