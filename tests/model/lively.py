import torch
from torch import nn


def lively(network):
    """Normalisations that do something, as after training."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, low, high in (
                (module.weight, 0.8, 1.2),
                (module.bias, -0.1, 0.1),
                (module.running_mean, -0.1, 0.1),
                (module.running_var, 0.5, 1.5),
            ):
                value.data.uniform_(low, high, generator=generator)
    return network.eval()
