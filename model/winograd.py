"""3x3 convolutions of few, wide places with 4 products for each output and channel instead of 9, on a CPU.

Winograd's F(2x2, 3x3) (Lavin and Gray, 2016): tiles of 4x4 places, two apart, are transformed, multiplied place by
place with transformed weights, and transformed back to 2x2 outputs. The 16 products of matrices are one grouped
convolution of oneDNN, whose packed weights are the fastest product of matrices that PyTorch has here. The transforms
are additions; they pay where there are many channels on either side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.packed import Packed

LEAST_CHANNELS = 128  # on either side; below, the transforms take longer than the products that they save
STRIP_VALUES = 2**19  # transformed values that are held at a time, at least; each strip reads all the weights
TILE = 4
PRODUCTS = TILE * TILE
OF_WEIGHTS = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))
SEEN_WHOLE = 5  # the product at row 1, column 1, which goes into all four outputs of a tile with weight 1


def pays(convolution: nn.Conv2d) -> bool:
    """Whether `Winograd` computes this convolution, and faster."""
    fits = (convolution.kernel_size, convolution.stride, convolution.dilation) == ((3, 3), (1, 1), (1, 1))
    wide = min(convolution.in_channels, convolution.out_channels) >= LEAST_CHANNELS
    return fits and wide and convolution.groups == 1 and convolution.padding == (1, 1)


class Winograd(nn.Module):
    """A convolution that `pays`, and perhaps a ReLU after it; within 1e-5 of the largest output.

    Args:
        convolution: what it computes.
        size: of a typical input, (B, C, h, w).
        relu: whether one follows.
    """

    @torch.no_grad()
    def __init__(self, convolution: nn.Conv2d, size: list[int], *, relu: bool) -> None:
        super().__init__()
        assert pays(convolution)
        self.out, self.relu = convolution.out_channels, relu
        batch, channels, height, width = size
        of_weights = convolution.weight.new_tensor(OF_WEIGHTS)
        weight = torch.einsum("ai,ocij,bj->aboc", of_weights, convolution.weight, of_weights)
        bias = weight.new_zeros(PRODUCTS, self.out)
        if convolution.bias is not None:
            bias[SEEN_WHOLE] = convolution.bias
        products = nn.Conv2d(PRODUCTS * channels, PRODUCTS * self.out, 1, groups=PRODUCTS)
        products.weight = nn.Parameter(weight.reshape(products.weight.shape))
        products.bias = nn.Parameter(bias.flatten())
        self.products = Packed(products, [batch, PRODUCTS * channels, (height + 1) // 2, (width + 1) // 2], None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out, h, w)."""
        batch, channels, height, width = x.shape
        rows, columns = (height + 1) // 2, (width + 1) // 2  # of tiles
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1 + width % 2, 1, 1 + height % 2))  # (B, h + 2, w + 2, C)
        result = x.new_empty(batch, rows, 2, columns, 2, self.out)
        at_once = max(STRIP_VALUES, PRODUCTS * self.out * channels)  # values; as many as there are weights
        strip = max(1, at_once // (PRODUCTS * batch * columns * channels))
        for top in range(0, rows, strip):
            bottom = min(top + strip, rows)
            tiles = self._transformed(padded[:, 2 * top : 2 * bottom + 2], bottom - top, columns)
            _to_outputs(self.products(tiles), result[:, top:bottom])
        if self.relu:
            result.relu_()
        whole = result.view(batch, 2 * rows, 2 * columns, self.out)[:, :height, :width]
        return whole.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    @staticmethod
    def _transformed(padded: Tensor, rows: int, columns: int) -> Tensor:
        """(B, 2 rows + 2, 2 columns + 2, C) -> (B, 16 C, rows, columns), channels last."""
        batch, _, width, channels = padded.shape
        by_rows = padded.new_empty(TILE, batch, rows, width, channels)
        _combine([padded[:, place : place + 2 * rows - 1 : 2] for place in range(TILE)], by_rows)
        tiles = padded.new_empty(batch, rows, columns, TILE, TILE, channels)
        of_columns = [by_rows[:, :, :, place : place + 2 * columns - 1 : 2] for place in range(TILE)]
        _combine(of_columns, tiles.permute(4, 3, 0, 1, 2, 5))
        return tiles.view(batch, rows, columns, -1).permute(0, 3, 1, 2)


def _combine(places: list[Tensor], out: Tensor) -> None:
    """The transform of four places in a line of a tile, of many at once, into `out[0]` to `out[3]`."""
    torch.sub(places[0], places[2], out=out[0])
    torch.add(places[1], places[2], out=out[1])
    torch.sub(places[2], places[1], out=out[2])
    torch.sub(places[1], places[3], out=out[3])


def _to_outputs(products: Tensor, out: Tensor) -> None:
    """(B, 16 O, rows, columns) -> `out` (B, rows, 2, columns, 2, O)."""
    batch, _, rows, columns = products.shape
    found = products.permute(0, 2, 3, 1).view(batch, rows, columns, TILE, TILE, -1)
    sums = products.new_empty(2, TILE, batch, rows, columns, found.shape[-1])
    _reduce(found.permute(3, 4, 0, 1, 2, 5), sums)
    _reduce(sums.transpose(0, 1), out.permute(4, 2, 0, 1, 3, 5))


def _reduce(products: Tensor, out: Tensor) -> None:
    """The transform of four products in a line of a tile, of many at once, to the outputs `out[0]` and `out[1]`."""
    torch.add(products[0], products[1], out=out[0])
    out[0].add_(products[2])
    torch.sub(products[1], products[2], out=out[1])
    out[1].sub_(products[3])
