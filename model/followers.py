"""Which module takes a convolution's output, and putting a module in place of another."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


@torch.inference_mode(mode=False)  # which does not count the versions of tensors
@torch.no_grad()
def followers(
    network: nn.Module, inputs: Sequence[Tensor], kinds: tuple[type[nn.Module], ...]
) -> list[tuple[nn.Conv2d, Any]]:
    """Convolutions with the module of one of `kinds` that takes their output as it is; both run once.

    It is seen in one run of `network` on `inputs`, not guessed from names.
    """
    # By id; the tensors are held, so that no id is used twice. A tensor's version tells of changes in place.
    outputs: dict[int, tuple[nn.Conv2d, Tensor, int]] = {}
    runs = Counter[nn.Module]()
    found: list[tuple[nn.Conv2d, nn.Module]] = []

    def after_convolution(module: nn.Conv2d, _: Any, output: Tensor) -> None:
        runs[module] += 1
        outputs[id(output)] = (module, output, output._version)  # noqa: SLF001

    def before_follower(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        runs[module] += 1
        made = outputs.get(id(arguments[0]))
        if made is not None and made[1]._version == made[2]:  # noqa: SLF001
            found.append((made[0], module))

    modules = list(network.modules())
    handles = [m.register_forward_hook(after_convolution) for m in modules if isinstance(m, nn.Conv2d)]
    handles += [m.register_forward_pre_hook(before_follower) for m in modules if isinstance(m, kinds)]
    try:
        network(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [(convolution, module) for convolution, module in found if runs[convolution] == runs[module] == 1]


def replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in place of another, wherever that stands."""
    for parent in network.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
