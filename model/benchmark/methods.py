"""What a method is: it looks at prompts first and gives a function of queries, so a shared prompt is encoded once.

The network as a method, a method at another scale, and several methods averaged.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from model.images import enlarge
from model.metauas import How, compare_many
from model.onenip import OneNIP, neck
from model.systems import Network

Compare = Callable[[Tensor], Tensor]  # queries float32 (B, 3, H, W) in [0, 1] -> maps float32 (B, H, W)
Method = Callable[[Tensor], Compare]  # prompts float32 (K, B or 1, 3, H, W) in [0, 1]: K for each query, or for all
Of = TypeVar("Of")
Encode = Callable[[Tensor], Sequence[Tensor]]  # images -> features float32 (B, C, h, w) at strides 2, 4, 8, 16, 32


class Once(Generic[Of]):
    """A function of images that remembers its last batch, so that all methods that look at it share what it gives."""

    def __init__(self, function: Callable[[Tensor], Of]) -> None:
        self._function = function
        self._last: tuple[Tensor, Of] | None = None

    def __call__(self, images: Tensor) -> Of:
        """Return what the function gives of `images`, asked now unless it is the very tensor of the last call."""
        if self._last is None or images is not self._last[0]:
            self._last = images, self._function(images)
        return self._last[1]


def network_method(model: Network, encode: Encode | None = None, how: How = "maps") -> Method:
    """The trained network as a method; `how` several prompts are averaged, of OneNIP always their maps.

    MetaUAS gives the probability of a change, in [0, 1]. Of its prompt the aligned levels are kept: the others take
    seven times as much memory, and nothing looks at them. OneNIP gives its score map, 1 being twice its scale.
    """
    encode = encode or model.encode
    if isinstance(model, OneNIP):
        return _onenip_method(model, encode)

    def look(prompts: Tensor) -> Compare:
        features = [tuple(encode(shot))[model.unaligned :] for shot in prompts]
        return lambda queries: compare_many(model, features, tuple(encode(queries)), how).squeeze(1)

    return look


def _onenip_method(model: OneNIP, encode: Encode) -> Method:
    def look(prompts: Tensor) -> Compare:
        features = [(neck(encode(shot), model.grid),) for shot in prompts]

        def compare(queries: Tensor) -> Tensor:
            seen = (neck(encode(queries), model.grid),)
            maps = [model.relative_map(model.compare(prompt, seen)) for prompt in features]
            return (sum(maps[1:], maps[0]) / len(maps)).squeeze(1)

        return compare

    return look


def at_scale(method: Method, shrink: Callable[[Tensor], Tensor]) -> Method:
    """A method that looks at `shrink`ed images, its maps enlarged to those of the images."""

    def look(prompts: Tensor) -> Compare:
        compare = method(torch.stack([shrink(shot) for shot in prompts]))
        return lambda queries: enlarge(compare(shrink(queries)), queries)

    return look


def averaged(methods: Sequence[Method]) -> Method:
    """The plain mean of several methods' maps (MetaUAS*+: the network and WinCLIP+'s visual prior)."""

    def look(prompts: Tensor) -> Compare:
        compares = [method(prompts) for method in methods]
        return lambda queries: torch.stack([compare(queries) for compare in compares]).mean(dim=0)

    return look
