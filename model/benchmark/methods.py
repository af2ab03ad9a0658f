"""What a method is: it looks at prompts first and gives a function of queries, so a shared prompt is encoded once.

The network as a method, and several methods averaged.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from model.metauas import How, MetaUAS, compare_many

Compare = Callable[[Tensor], Tensor]  # queries float32 (B, 3, H, W) in [0, 1] -> maps float32 (B, H, W)
Method = Callable[[Tensor], Compare]  # prompts float32 (K, B or 1, 3, H, W) in [0, 1]: K for each query, or for all
Encode = Callable[[Tensor], Sequence[Tensor]]  # images -> features float32 (B, C, h, w) at strides 2, 4, 8, 16, 32


class EncodeOnce:
    """An encoder that remembers its last batch: all methods and prompts that look at it share its features."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._images: Tensor | None = None
        self._features: Sequence[Tensor] = ()

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Return the features of `images`, encoded now unless it is the very tensor of the last call."""
        if images is not self._images:
            self._features = self._encode(images)
            self._images = images
        return self._features


def network_method(model: MetaUAS, encode: Encode | None = None, how: How = "maps") -> Method:
    """The trained network as a method: probability of a change in [0, 1]; `how` several prompts are averaged.

    Of a prompt the aligned levels are kept: the others take seven times as much memory, and nothing looks at them.
    """
    encode = encode or model.encode

    def look(prompts: Tensor) -> Compare:
        features = [tuple(encode(shot))[model.unaligned :] for shot in prompts]
        return lambda queries: compare_many(model, features, tuple(encode(queries)), how).squeeze(1)

    return look


def averaged(methods: Sequence[Method]) -> Method:
    """The plain mean of several methods' maps (MetaUAS*+: the network and WinCLIP+'s visual prior)."""

    def look(prompts: Tensor) -> Compare:
        compares = [method(prompts) for method in methods]
        return lambda queries: torch.stack([compare(queries) for compare in compares]).mean(dim=0)

    return look
