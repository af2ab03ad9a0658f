"""Checkpoints as training writes them, without training."""

import torch

from model.metauas.metadata import CHECKPOINT, CHECKPOINT_VERSION, STATE_PREFIX


def save_checkpoint(path, network, size, key=CHECKPOINT):
    said = {"version": CHECKPOINT_VERSION, "network": network.arguments, "size": list(size)}
    state = {f"{STATE_PREFIX}{name}": value for name, value in network.state_dict().items()}
    torch.save({key: said, "state_dict": state}, path)
    return path
