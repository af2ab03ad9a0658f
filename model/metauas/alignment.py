"""Bringing prompt features to the places of the query where they belong (paper, section 3.2, Eq. 2-6)."""

import math
from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.model import Fusion, Similarity, Strategy

CHUNK = 1024  # rows of an attention map that statistics hold at a time
START_TEMPERATURE = 20.0  # of cosine similarity; a softmax over cosines in [-1, 1] is nearly flat without one

START_PRODUCT = 20.0  # of a place with itself after `whiten`, on average: as sharp as the cosine's start
WHITEN_FLOOR = 0.01  # of the mean variance, under every direction's: nearly constant directions are not blown up

# What the decoder gets of query q and aligned prompt p (Eq. 2 is "concat"; Table 3 compares).
FUSE: dict[Fusion, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda q, p: torch.cat([q, p], dim=1),
    "add": lambda q, p: q + p,
    "absdiff": lambda q, p: (q - p).abs(),
    "concat+absdiff": lambda q, p: torch.cat([q, p, (q - p).abs()], dim=1),
}
FUSED_WIDTH: dict[Fusion, int] = {"concat": 2, "add": 1, "absdiff": 1, "concat+absdiff": 3}  # times the channels


def patches(features: Tensor) -> Tensor:
    """Features (B, C, h, w) as patches of length one (B, C, hw)."""
    return F.normalize(features.flatten(2), dim=1)


def distance(features: Tensor, memory: Tensor) -> Tensor:
    """1 - cosine similarity to the nearest patch: features (B, C, h, w), memory (B or 1, C, n) -> (B, h, w)."""
    batch, _, height, width = features.shape
    rows = patches(features).transpose(1, 2)  # (B, hw, C)
    if torch.compiler.is_compiling():  # which cannot loop over a batch of any size
        nearest = (rows @ memory).amax(dim=2)
    else:
        # One query at a time: at 512 px one has 4,096 patches, and all similarities of a batch would take a gigabyte.
        own = memory.expand(batch, -1, -1)
        nearest = torch.stack([(row @ one).amax(dim=1) for row, one in zip(rows, own, strict=True)])
    return 1 - nearest.view(batch, height, width)


@torch.no_grad()
def nearest_distance(prompt: Tensor, query: Tensor) -> Tensor:
    """What PatchCore sees of a query by one prompt: features float32 (B, C, h, w) each -> (B, 1, h, w) in [0, 2].

    No gradient passes.
    """
    with torch.autocast(query.device.type, enabled=False):
        return distance(query.float(), patches(prompt.float())).unsqueeze(1)


class Alignment(nn.Module):
    """One level's alignment: `forward(prompt, query)` float32 (B, C, h, w) each -> the prompt's features, rearranged.

    Strategy "soft" weighs all prompt positions by softmax of the similarity of 1x1-convolved features (Eq. 4-6), "hard"
    takes the one of highest cosine (Eq. 3; no gradient reaches the convolution), "none" leaves the prompt as it is.

    Similarity belongs to "soft": "dot" is the paper's unscaled product, "scaled" divides it by the root of the width,
    "cosine" normalises both sides and multiplies by a learned temperature. A dot product favours positions with long
    feature vectors, whatever they show; with some encoders it misses even the same place of the same picture.
    """

    def __init__(self, channels: int, strategy: Strategy, similarity: Similarity) -> None:
        super().__init__()
        assert strategy in get_args(Strategy)
        assert similarity in get_args(Similarity)
        self.strategy = strategy
        self.similarity = similarity
        if strategy != "none":
            self.project = nn.Conv2d(channels, channels // 2, kernel_size=1)  # shared by both sides, Eq. 4
            self.project.requires_grad_(
                requires_grad=strategy == "soft"
            )  # nothing can be learned through the choice of one
        if strategy == "soft" and similarity == "cosine":
            # Its logarithm is learned, so a step changes it by a share and it stays positive.
            self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))

    def forward(self, prompt: Tensor, query: Tensor) -> Tensor:
        """Return the prompt's features at the query's places, shaped as `query`."""
        if self.strategy == "none":
            return prompt
        # Unscaled products reach hundreds: float16 overflows and bfloat16 rounds them to whole numbers.
        with torch.autocast(query.device.type, enabled=False):
            queries, keys = self._compared(prompt.float(), query.float())
            align = _soft if self.strategy == "soft" else _hard
            aligned = align(queries, keys, _tokens(prompt.float()))
        # (B, hw, C) -> (B, C, h, w), channels last by its strides even where B is 1, which `cat` goes by.
        return aligned.reshape(query.shape[0], *query.shape[2:], -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def whiten(self, features: Tensor) -> None:
        """Start the projection so that `features` (B, C, h, w) leave it centred, uncorrelated and of equal strength.

        The paper says nothing of how the projection starts. From a usual random start the unscaled product is won by
        whichever positions have the longest vectors, and its softmax is so sharp that hardly a gradient can mend it.
        """
        assert self.strategy == "soft"
        places = _tokens(features).flatten(0, 1).double()  # (BHW, C)
        mean = places.mean(dim=0)
        variance, directions = torch.linalg.eigh(torch.cov(places.T))
        whiten = directions * (variance + WHITEN_FLOOR * variance.mean()).rsqrt() @ directions.T
        kept = nn.init.orthogonal_(torch.empty(self.project.weight.shape[:2])).to(whiten) @ whiten  # (C // 2, C)
        length = ((places - mean) @ kept.T).square().sum(dim=1).mean()
        kept = kept * (START_PRODUCT / length).sqrt()
        self.project.weight.copy_(kept[:, :, None, None])
        assert self.project.bias is not None
        self.project.bias.copy_(-kept @ mean)

    @torch.no_grad()
    def statistics(self, prompt: Tensor, query: Tensor) -> tuple[float, float]:
        """How sharply and how faithfully a level's features (B, C, h, w) are matched.

        At most `CHUNK` rows of a (hw, hw) map are held at a time.

        Returns:
            The attention's entropy in nats, mean over places (0: one prompt place takes all, log(hw): none is told from
            another; 0 for "hard"), and the share of places whose most similar prompt place is their own. For a prompt
            that shows the same as the query it should be near 1.
        """
        assert self.strategy != "none", "without alignment there is no attention"
        entropy, same = 0.0, 0
        with torch.autocast(query.device.type, enabled=False):
            queries, keys = self._compared(prompt.float(), query.float())
            places = torch.arange(queries.shape[1], device=query.device)
            for one, own_keys in zip(queries, keys, strict=True):
                for rows, expected in zip(torch.split(one, CHUNK), torch.split(places, CHUNK), strict=True):
                    log_weights = (rows @ own_keys.T).log_softmax(dim=-1)  # (CHUNK, hw)
                    entropy -= float((log_weights.exp() * log_weights).sum())
                    same += int((log_weights.argmax(dim=-1) == expected).sum())
        count = queries.shape[0] * queries.shape[1]
        return (entropy / count if self.strategy == "soft" else 0.0), same / count

    def _compared(self, prompt: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (B, hw, C // 2), whose plain product is the similarity."""
        queries, keys = _tokens(self.project(query)), _tokens(self.project(prompt))
        if self.strategy == "hard" or self.similarity == "cosine":
            queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
        if self.strategy == "hard" or self.similarity == "dot":
            return queries, keys
        scale = self.log_temperature.exp() if self.similarity == "cosine" else keys.shape[-1] ** -0.5
        return queries * scale, keys


def _soft(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Eq. 5 and 6, without holding the (hw, hw) map: (B, hw, C // 2) twice and (B, hw, C) -> (B, hw, C)."""
    # The fused CPU kernel wants keys as wide as values. Zeros change no product; it is twice as fast at /4.
    padding = (0, values.shape[-1] - keys.shape[-1])
    queries, keys = F.pad(queries, padding), F.pad(keys, padding)
    queries, keys, values = queries.unsqueeze(1), keys.unsqueeze(1), values.unsqueeze(1)  # -> (B, 1, hw, C)
    return F.scaled_dot_product_attention(queries, keys, values, scale=1.0).squeeze(1)


def _hard(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Eq. 3: at each place the value of the most similar key."""
    best = (queries @ keys.transpose(1, 2)).argmax(dim=-1, keepdim=True)  # (B, hw, 1)
    return values.gather(1, best.expand(-1, -1, values.shape[-1]))


def _tokens(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, hw, C)."""
    return features.flatten(2).transpose(1, 2)
