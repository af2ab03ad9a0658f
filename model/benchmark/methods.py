"""What a method is: it looks at prompts first and gives a function of queries, so a shared prompt is encoded once.

The network as a method, a method at another scale or height, several averaged, and what a method says of queries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from configs.evaluate import ImageScore
from model.images import enlarge
from model.metacan import Comparison, MetaCAN
from model.metauas import How, compare_many
from model.onenip import OneNIP, neck
from model.scores import Maps, image_scores
from model.systems import Network

Compare = Callable[[Tensor], Tensor]  # queries float32 (B, 3, H, W) in [0, 1] -> maps float32 (B, H, W)
Method = Callable[[Tensor], Compare]  # prompts float32 (K, B or 1, 3, H, W) in [0, 1]: K for each query, or for all
Of = TypeVar("Of")
# Images -> features float32 (B, C, h, w) at strides 2, 4, 8, 16, 32; of MetaCAN tokens (B, 3, patches, width).
Encode = Callable[[Tensor], Any]


@dataclass(frozen=True)
class OwnScores:
    """A `Compare` of a method whose images' scores are not made of its maps, such as MetaCAN."""

    both: Callable[[Tensor], tuple[Tensor, Tensor]]  # queries -> maps, and scores float32 (B,)

    def __call__(self, queries: Tensor) -> Tensor:
        """Return the maps alone."""
        return self.both(queries)[0]


def look_at(compare: Compare, queries: Tensor, how: ImageScore) -> tuple[Maps, npt.NDArray[np.float32]]:
    """Maps float32 (B, H, W) of queries, and their scores (B,): the method's own, or `how` says what of the maps.

    Where `how` is "own", a method without scores of its own gives the highest pixel.
    """
    if how == "own" and isinstance(compare, OwnScores):
        maps, scores = (found.float().cpu().numpy() for found in compare.both(queries))
        return maps, scores
    maps = compare(queries).float().cpu().numpy()
    return maps, image_scores(maps, "max" if how == "own" else how)


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
    seven times as much memory, and nothing looks at them. OneNIP gives its score map, 1 being twice its scale. MetaCAN
    compares with all prompts at once, and gives the mean of its levels' maps, in [0, 1], beside its own scores.
    """
    encode = encode or model.encode
    if isinstance(model, MetaCAN):
        return of_references(model, encode, lambda found: found.score)
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


def of_references(model: MetaCAN, encode: Encode, score_of: Callable[[Comparison], Tensor]) -> Method:
    """A method that compares CLIP's tokens with those of all prompts, its scores what `score_of` takes of them.

    Queries must all have the same prompts.
    """

    def look(prompts: Tensor) -> Compare:
        references = torch.cat([encode(shot) for shot in prompts])

        def both(queries: Tensor) -> tuple[Tensor, Tensor]:
            found = model.compare(references, encode(queries))
            return enlarge(found.squares.mean(dim=1), queries), score_of(found)

        return OwnScores(both)

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


def doubled(method: Method) -> Method:
    """A method with twice as high maps: PatchCore's, which go to 2 and seldom pass .5, beside probabilities."""

    def look(prompts: Tensor) -> Compare:
        compare = method(prompts)
        return lambda queries: 2 * compare(queries)

    return look
