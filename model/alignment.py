"""Bringing prompt features to the places of the query where they belong (paper, section 3.2, Eq. 2-6)."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Strategy = Literal["soft", "hard", "none"]
Similarity = Literal["dot", "scaled", "cosine"]
Fusion = Literal["concat", "add", "absdiff", "concat+absdiff"]

START_TEMPERATURE = 20.0  # of cosine similarity; a softmax over cosines in [-1, 1] is nearly flat without one

# What the decoder gets of query q and aligned prompt p (Eq. 2 is "concat"; Table 3 compares).
FUSE: dict[Fusion, Callable[[Tensor, Tensor], Tensor]] = {
    "concat": lambda q, p: torch.cat([q, p], dim=1),
    "add": lambda q, p: q + p,
    "absdiff": lambda q, p: (q - p).abs(),
    "concat+absdiff": lambda q, p: torch.cat([q, p, (q - p).abs()], dim=1),
}
FUSED_WIDTH: dict[Fusion, int] = {"concat": 2, "add": 1, "absdiff": 1, "concat+absdiff": 3}  # times the channels


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
        if strategy == "soft" and similarity == "cosine":
            # Its logarithm is learned, so a step changes it by a share and it stays positive.
            self.log_temperature = nn.Parameter(torch.tensor(math.log(START_TEMPERATURE)))

    def forward(self, prompt: Tensor, query: Tensor) -> Tensor:
        """Return the prompt's features at the query's places, shaped as `query`."""
        if self.strategy == "none":
            return prompt
        # Unscaled products reach hundreds: float16 overflows and bfloat16 rounds them to whole numbers.
        with torch.autocast(query.device.type, enabled=False):
            prompt, query = prompt.float(), query.float()
            keys, queries, values = self._keys(prompt), self._keys(query), _tokens(prompt)
            aligned = self._soft(queries, keys, values) if self.strategy == "soft" else _hard(queries, keys, values)
        return aligned.transpose(1, 2).reshape(query.shape)  # (B, hw, C) -> (B, C, h, w)

    def _keys(self, features: Tensor) -> Tensor:
        """Features (B, C, h, w) -> what is compared, (B, hw, C // 2)."""
        projected = _tokens(self.project(features))
        return projected if self.strategy == "soft" and self.similarity != "cosine" else F.normalize(projected, dim=-1)

    def _soft(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Eq. 5 and 6, without holding the (hw, hw) map: (B, hw, C // 2) twice and (B, hw, C) -> (B, hw, C)."""
        if self.similarity == "cosine":
            queries = queries * self.log_temperature.exp()
        scale = keys.shape[-1] ** -0.5 if self.similarity == "scaled" else 1.0
        # The fused CPU kernel wants keys as wide as values. Zeros change no product; it is twice as fast at /4.
        padding = (0, values.shape[-1] - keys.shape[-1])
        queries, keys = F.pad(queries, padding), F.pad(keys, padding)
        queries, keys, values = queries.unsqueeze(1), keys.unsqueeze(1), values.unsqueeze(1)  # -> (B, 1, hw, C)
        return F.scaled_dot_product_attention(queries, keys, values, scale=scale).squeeze(1)


def _hard(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Eq. 3: at each place the value of the most similar key."""
    best = (queries @ keys.transpose(1, 2)).argmax(dim=-1, keepdim=True)  # (B, hw, 1)
    return values.gather(1, best.expand(-1, -1, values.shape[-1]))


def _tokens(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, hw, C)."""
    return features.flatten(2).transpose(1, 2)
