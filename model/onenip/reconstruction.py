"""All that learns: features are projected, rebuilt by the transformer, projected back, and their errors refined."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.errors import BadRequest
from configs.model import Bidirectional, Prompt
from model.onenip.refiner import Refiner
from model.onenip.transformer import (
    WIDTH,
    BidirectionalDecoder,
    EncoderLayer,
    LayerwiseDecoder,
    Positions,
    copies,
    neighbour_mask,
)

STRIDE = 16  # of the tokens, and of the encoder's deepest level


class Reconstruction(nn.Module):
    """`forward(query, prompt)`: features float32 (B, C, rows, columns), of a prompt (B / k, ..) or None -> as `query`.

    Its state dict is that of a published checkpoint below `module.reconstruction.`.

    Args:
        channels: of the features.
        rows: of tokens, as `columns`.
        columns: see `rows`.
        prompt: "dynamic" (Eq. 3), "static" (Eq. 2) or "none" (UniAD, Eq. 1).
        decoder: of the dynamic prompt, see `BidirectionalLayer`.
        encoder_layers: how many, as `decoder_layers` (Table 4b).
        decoder_layers: see `encoder_layers`.
        refiner: whether there is one.
        dropout: of the transformer, its attention included.
    """

    mask: Tensor

    def __init__(
        self,
        channels: int,
        rows: int,
        columns: int,
        *,
        prompt: Prompt,
        decoder: Bidirectional,
        encoder_layers: int,
        decoder_layers: int,
        refiner: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.pos_embed = Positions(rows, columns)
        encoder = nn.ModuleDict({"layers": copies(EncoderLayer(dropout), encoder_layers)})
        decode = (
            BidirectionalDecoder(decoder_layers, decoder, dropout)
            if prompt == "dynamic"
            else LayerwiseDecoder(decoder_layers, rows * columns if prompt == "none" else None, dropout)
        )
        self.transformer = nn.ModuleDict({"encoder": encoder, "decoder": decode})
        self.input_proj = nn.Linear(channels, WIDTH)
        self.output_proj = nn.Linear(WIDTH, channels)
        self.seghead = Refiner(channels) if refiner else None
        self.register_buffer("mask", neighbour_mask(rows, columns), persistent=False)
        self.apply(_initialise)

    def forward(self, query: Tensor, prompt: Tensor | None) -> Tensor:
        """Rebuild the query's features; a prompt serves each of the query's images in turn."""
        tokens = _tokens(query if prompt is None else torch.cat([query, prompt]))
        x, position = self.input_proj(tokens), self.pos_embed()
        for layer in cast(nn.ModuleList, self.transformer["encoder"].layers):
            x = layer(x, position, self.mask)
        count = query.shape[0]  # not `len`, which would fix the batch of an exported file
        x, normal = x[:count], x[count:]
        encoded = None if prompt is None else normal.repeat(count // prompt.shape[0], 1, 1)
        rebuilt = self.output_proj(self.transformer["decoder"](x, encoded, position, self.mask))
        return rebuilt.float().transpose(1, 2).reshape(query.shape)  # type: ignore[no-any-return]


def neck(features: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
    """All levels at stride 16, shallow first: (B, C_i, h_i, w_i) -> float32 (B, C, *grid).

    Raises:
        BadRequest: features of images of another size.
    """
    found = tuple(features[-1].shape[2:])
    if found != grid:
        raise BadRequest(f"the deepest features are {found}; wanted {grid}, as `encode` gives them")
    return torch.cat([resize(level, grid) for level in features], dim=1).float()


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear, corners on corners and without a filter, as released: (B, C, h, w) -> (B, C, *size)."""
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def _tokens(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, hw, C)."""
    return features.flatten(2).transpose(1, 2)


def _initialise(module: nn.Module) -> None:
    """As released: every linear and convolution drawn anew; the attentions' input projections stay alike by layer."""
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
