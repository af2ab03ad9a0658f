"""The transformer's parts: positions, the neighbour mask, and the layers of the encoder and both decoders.

All are post-norm, 256 wide. Tokens are float32 (B, N, 256), row by row; a position (N, 256) is added to what asks and
what is asked, never to what is taken. Modules are named as the published checkpoints name their tensors.
"""

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.model import Bidirectional

WIDTH = 256
HEADS = 8
FEED_FORWARD = 1024
DROPOUT = 0.1  # as released

LayerT = TypeVar("LayerT", bound=nn.Module)


class Positions(nn.Module):
    """What is learned of each row and each column: `forward()` -> (rows columns, 256), a column's half first."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.row_embed = nn.Embedding(rows, WIDTH // 2)
        self.col_embed = nn.Embedding(columns, WIDTH // 2)
        nn.init.uniform_(self.row_embed.weight)
        nn.init.uniform_(self.col_embed.weight)

    def forward(self) -> Tensor:
        """Return the positions of all tokens."""
        row, column = self.row_embed.weight, self.col_embed.weight
        halves = [column.expand(len(row), -1, -1), row[:, None].expand(-1, len(column), -1)]  # (rows, columns, 128)
        return torch.cat(halves, dim=-1).flatten(0, 1)


def neighbour_mask(rows: int, columns: int) -> Tensor:
    """What is added to attention: float32 (N, N), -inf from a token to itself and its neighbours, 0 elsewhere.

    Neighbours are at most a quarter of the rows and of the columns away, so the square is 7 wide for 14 x 14 tokens, 9
    for 16 x 16 and 11 for 20 x 20: what is rebuilt cannot be copied from its own place (UniAD, section 3.2).
    """
    places = torch.arange(rows * columns)
    row, column = places // columns, places % columns
    near = ((row[:, None] - row).abs() <= rows // 4) & ((column[:, None] - column).abs() <= columns // 4)
    return torch.zeros(near.shape).masked_fill(near, -torch.inf)


class EncoderLayer(nn.Module):
    """Self-attention within an image, of a query or a prompt alike."""

    def __init__(self, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.self_attn = _attention(dropout)
        self.linear1 = nn.Linear(WIDTH, FEED_FORWARD)
        self.linear2 = nn.Linear(FEED_FORWARD, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """Tokens -> tokens."""
        x = self.norm1(x + self.dropout(attend(self.self_attn, x + position, x + position, x, mask)))
        inner = self.dropout(F.relu(self.linear1(x)))
        return self.norm2(x + self.dropout(self.linear2(inner)))  # type: ignore[no-any-return]


class BidirectionalLayer(nn.Module):
    """The prompt takes from the query, then the query from the prompt (Eq. 3).

    Until the fix of November 2024 the released code computed the second attention and added the feed-forward's output
    in its place, so that the query took of the prompt only what stands at its own place. The paper's tables were made
    so: "v1". "v2" is the fix.
    """

    def __init__(self, version: Bidirectional, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.version = version
        self.cross_attn_prompt_to_image = _attention(dropout)
        self.cross_attn_image_to_prompt = _attention(dropout)
        self.mlp = nn.ModuleDict({"lin1": nn.Linear(WIDTH, FEED_FORWARD), "lin2": nn.Linear(FEED_FORWARD, WIDTH)})
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, prompt: Tensor, query: Tensor, position: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Both sides' tokens -> both sides' tokens."""
        seen = attend(self.cross_attn_prompt_to_image, prompt + position, query + position, query, mask)
        prompt = self.norm1(prompt + self.dropout(seen))
        inner = self.mlp["lin2"](F.relu(self.mlp["lin1"](prompt)))
        prompt = self.norm2(prompt + self.dropout(inner))
        if self.version == "v2":
            inner = attend(self.cross_attn_image_to_prompt, query + position, prompt + position, prompt, mask)
        return prompt, self.norm3(query + self.dropout(inner))


class BidirectionalDecoder(nn.Module):
    """OneNIP's: the reconstruction is what becomes of the prompt; only the last attention sees a token's own place."""

    def __init__(self, layers: int, version: Bidirectional, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.layers = copies(BidirectionalLayer(version, dropout), layers)
        self.final_attn_token_to_image = _attention(dropout)
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, prompt: Tensor, position: Tensor, mask: Tensor) -> Tensor:
        """The encoder's tokens of both sides -> tokens."""
        for layer in self.layers:
            prompt, query = layer(prompt, query, position, mask)
        seen = attend(self.final_attn_token_to_image, prompt + position, query + position, query)
        return self.norm(prompt + self.dropout(seen))  # type: ignore[no-any-return]


class LayerwiseLayer(nn.Module):
    """Queries look at the encoder's output, and then at that of the layer before (Eq. 1).

    Args:
        tokens: how many queries are learned (UniAD); None: the encoded prompt is the query (Eq. 2).
    """

    def __init__(self, tokens: int | None, dropout: float = DROPOUT) -> None:
        super().__init__()
        if tokens is not None:
            self.learned_embed = nn.Embedding(tokens, WIDTH)
        self.self_attn = _attention(dropout)
        self.multihead_attn = _attention(dropout)
        self.linear1 = nn.Linear(WIDTH, FEED_FORWARD)
        self.linear2 = nn.Linear(FEED_FORWARD, WIDTH)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(WIDTH) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, encoded: Tensor, prompt: Tensor | None, position: Tensor, mask: Tensor) -> Tensor:
        """`x` of the layer before and the `encoded` query -> tokens."""
        t = self.learned_embed.weight.expand_as(encoded) if prompt is None else prompt
        t = self.norm1(t + self.dropout(attend(self.self_attn, t + position, encoded + position, encoded, mask)))
        t = self.norm2(t + self.dropout(attend(self.multihead_attn, t + position, x + position, x, mask)))
        inner = self.dropout(F.relu(self.linear1(t)))
        return self.norm3(t + self.dropout(self.linear2(inner)))  # type: ignore[no-any-return]


class LayerwiseDecoder(nn.Module):
    """UniAD's, and Table 4a's with a static prompt in the place of the learned queries."""

    def __init__(self, layers: int, tokens: int | None, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.layers = copies(LayerwiseLayer(tokens, dropout), layers)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, query: Tensor, prompt: Tensor | None, position: Tensor, mask: Tensor) -> Tensor:
        """The encoder's tokens, of the prompt None where queries are learned -> tokens."""
        x = query
        for layer in self.layers:
            x = layer(x, query, prompt, position, mask)
        return self.norm(x)  # type: ignore[no-any-return]


def copies(layer: LayerT, count: int) -> nn.ModuleList:
    """`count` layers that start alike, but for what is drawn later: so the released code starts."""
    return nn.ModuleList(copy.deepcopy(layer) for _ in range(count))


def attend(attention: nn.Module, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Multi-head attention of tokens."""
    return attention(queries, keys, values, attn_mask=mask, need_weights=False)[0]  # type: ignore[no-any-return]


def _attention(dropout: float) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(WIDTH, HEADS, dropout, batch_first=True)
