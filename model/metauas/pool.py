"""A pool of normal images, from which each query gets the most similar as its prompt (paper, section 3.4)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.errors import BadRequest
from model.metauas.network import Features


class Encodes(Protocol):
    """What a pool needs of a network, in evaluation mode."""

    training: bool
    unaligned: int  # levels of a prompt, from the first, that nothing looks at

    def encode(self, images: Tensor) -> Features:
        """Images -> features, the deepest last."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All of them."""
        ...


def pooled(features: Features) -> Tensor:
    """What images are matched by: the last stage's features, globally averaged, float32 (B, D)."""
    return features[-1].float().mean(dim=(2, 3))


class PromptPool:
    """Normal images, encoded once, from which each query gets the most similar as its prompt (MetaUAS*).

    Kept features take 4 (h w) C bytes a level: of EfficientNet-b4's three aligned levels 0.5 MB an image at 256 px and
    2 MB at 512 px. Descriptors alone take 2 kB, and the chosen images are encoded again when they are asked for.

    Args:
        network: in evaluation mode.
        descriptors: float32 (N, D), as `pooled` gives them.
        classes: of each image; None if they are not known.
        features: of all images, the aligned levels only; or the images themselves, (3, H, W) each, to encode again.
    """

    def __init__(
        self,
        network: Encodes,
        descriptors: Tensor,
        classes: Sequence[str] | None,
        features: Sequence[Tensor],
        *,
        encoded: bool,
    ) -> None:
        self.network = network
        self.descriptors = F.normalize(descriptors, dim=1)
        self.classes = None if classes is None else tuple(classes)
        self._kept = features
        self._encoded = encoded

    @classmethod
    @torch.no_grad()
    def build(
        cls,
        network: Encodes,
        images: Iterable[Tensor],
        classes: Sequence[str] | None = None,
        batch_size: int = 16,
        *,
        keep_features: bool = True,
    ) -> Self:
        """Encode a pool.

        Args:
            network: in evaluation mode.
            images: float32 (3, H, W) in [0, 1], all of one size, read as they are needed.
            classes: one for each image, if queries are to be matched within their class.
            batch_size: images encoded together.
            keep_features: if not, only descriptors are kept, and `images` must be a sequence: a few are read again
                from it by their place.

        Raises:
            BadRequest: no images, or not as many as classes.
        """
        assert not network.training, "batch statistics would depend on which images are encoded together"
        if not keep_features and not isinstance(images, Sequence):
            raise BadRequest("prompt pool: without kept features the images are read again; pass a sequence of them")
        device = next(network.parameters()).device
        descriptors, levels = [], []
        for batch in _batches(images, batch_size):
            features = network.encode(torch.stack(batch).to(device))
            descriptors.append(pooled(features))
            if keep_features:
                levels.append(features[network.unaligned :])
        count = sum(map(len, descriptors))
        if count == 0 or (classes is not None and len(classes) != count):
            raise BadRequest(f"prompt pool: {count} images, {'no' if classes is None else len(classes)} classes")
        kept = [torch.cat(level) for level in zip(*levels, strict=True)] if keep_features else images
        assert isinstance(kept, Sequence)
        return cls(network, torch.cat(descriptors), classes, kept, encoded=keep_features)

    def __len__(self) -> int:
        return len(self.descriptors)

    def best(self, descriptors: Tensor, k: int = 1, classes: Sequence[str] | None = None) -> Tensor:
        """The k most similar prompts of each query by cosine similarity -> int64 (B, k), the best first.

        Args:
            descriptors: of the queries, float32 (B, D), as `pooled` gives them.
            k: how many.
            classes: of the queries; prompts are then of the same class, otherwise of the whole pool.

        Raises:
            BadRequest: fewer than k prompts to choose from.
        """
        allowed = None if classes is None else self._of_class(classes).to(self.descriptors.device)
        similarity = F.normalize(descriptors.float(), dim=1) @ self.descriptors.T  # (B, N)
        if allowed is not None:
            similarity = similarity.masked_fill(~allowed, -torch.inf)
        fewest = int((similarity > -torch.inf).sum(dim=1).min()) if len(similarity) else len(self)
        if not 1 <= k <= fewest:
            raise BadRequest(f"prompt pool: wanted {k} prompts a query, but there are {fewest} to choose from")
        return similarity.sort(dim=1, descending=True, stable=True).indices[:, :k]  # the first of equals

    @torch.no_grad()
    def features(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The prompts at `indices` int64 (B,), encoded: as `MetaUAS.compare` wants them, the aligned levels only."""
        if self._encoded:
            return tuple(level[indices.to(level.device)] for level in self._kept)
        places, back = torch.unique(indices.cpu(), return_inverse=True)
        images = torch.stack([self._kept[place] for place in places.tolist()]).to(self.descriptors.device)
        return tuple(level[back.to(level.device)] for level in self.network.encode(images)[self.network.unaligned :])

    def _of_class(self, classes: Sequence[str]) -> Tensor:
        """Which prompts are of which query's class, bool (B, N)."""
        if self.classes is None:
            raise BadRequest("prompt pool: queries have classes, but the pool was built without; build it with classes")
        unknown = sorted(set(classes) - set(self.classes))
        if unknown:
            raise BadRequest(
                f"prompt pool: no prompt of class {unknown[0]}; there are {', '.join(sorted(set(self.classes)))}"
            )
        return torch.tensor([[own == wanted for own in self.classes] for wanted in classes])


def _batches(images: Iterable[Tensor], size: int) -> Iterator[list[Tensor]]:
    rest = iter(images)
    while batch := list(islice(rest, size)):
        yield batch
