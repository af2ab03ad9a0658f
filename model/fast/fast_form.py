"""The same network, faster: for inference only, within 1e-4 of the probabilities in float32."""

from typing import cast

import torch
from torch import Tensor, nn

from model.fast.folding import PROBE_PX, excite_in_place, fold, replace
from model.metauas import SCSE, Block, MetaUAS, UNetDecoder

GATE_VALUES = 2**18  # of SCSE's gates that are held at a time
STRIP_PX = 2**13  # of the last block's input; few enough for a strip to stay in a core's cache


@torch.no_grad()
def for_inference(network: MetaUAS) -> MetaUAS:
    """Change a network in evaluation mode, in place, to the fast form of itself, and return it.

    - Batch normalisation is folded into the convolution before it. Which those are is seen in one run; a normalisation
      that follows something else stays.
    - SCSE and timm's squeeze and excitation change the maps that they are given, which nothing else has seen.
    - The UNet's last block, whose input is the nearest-neighbour doubling of a map and nothing else, convolves the map
      before it is doubled: 4 products for each output and channel instead of 9. On a CPU it and the head go over the
      map in strips, so that nothing of many channels is held at the full resolution.

    The fast form cannot be trained, and its weights fit no other network: checkpoints are written from the slow one.
    """
    assert not network.training, "batch statistics of training cannot be folded"
    device = next(network.parameters()).device
    probe = torch.zeros(1, 3, PROBE_PX, PROBE_PX, device=device)
    fold(network, [probe, probe])
    if isinstance(network.decoder, UNetDecoder):
        for block in network.decoder.blocks:
            if isinstance(block, Block) and isinstance(block.attention1, nn.Identity):
                network.decoder.blocks[-1] = StripedEnd(block, network.mask_head)
                network.mask_head = nn.Identity()
    for module in list(network.modules()):
        if isinstance(module, SCSE):
            replace(network, module, InPlaceSCSE(module))
    excite_in_place(network)
    return network.requires_grad_(requires_grad=False)


class InPlaceSCSE(nn.Module):
    """SCSE that changes its input, a decoder's own map, and on a CPU in strips, whose gates stay in a core's cache."""

    def __init__(self, scse: SCSE) -> None:
        super().__init__()
        self.cSE, self.sSE = scse.cSE, scse.sSE

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same tensor."""
        # Channels last to the eye, too: the sum of two that are broadcast would be laid out the other way.
        values, channel, place = (t.permute(0, 2, 3, 1) for t in (x, self.cSE(x), self.sSE(x)))
        rows = max(1, GATE_VALUES // values[:, 0].numel()) if x.device.type == "cpu" else x.shape[2]
        for top in range(0, x.shape[2], rows):
            values[:, top : top + rows].mul_(channel + place[:, top : top + rows])
        return x


class DoubledConvolution(nn.Module):
    """`convolve`, a 3x3 convolution and what is done to each value of its output, on a nearest-neighbour doubled input.

    Of the three rows (columns) under a 3x3 kernel two are always copies of one. An even row of the output sees rows
    (i - 1, i) of the input with weights (w0, w1 + w2), an odd one rows (i, i + 1) with (w0 + w1, w2).
    """

    def __init__(self, convolve: nn.Sequential) -> None:
        super().__init__()
        first = cast(nn.Conv2d, convolve[0])
        even, odd = torch.tensor([[1.0, 0, 0], [0, 1, 1]]), torch.tensor([[1.0, 1, 0], [0, 0, 1]])
        sums = torch.stack([even, odd]).to(first.weight)  # (parity, 2, 3)
        phases = torch.einsum("ayi,bxj,ocij->abocyx", sums, sums, first.weight)  # (2, 2, out, in, 2, 2)
        doubled = nn.Conv2d(first.in_channels, 4 * first.out_channels, 2, padding=1, bias=first.bias is not None)
        doubled.weight.data = phases.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        if first.bias is not None:
            cast(Tensor, doubled.bias).data = first.bias.repeat(4)
        self.phases = nn.Sequential(doubled, *list(convolve)[1:])

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, out, 2h, 2w)."""
        batch, _, height, width = x.shape
        phases = self.phases(x)  # (B, 4 out, h + 1, w + 1)
        out = phases.shape[1] // 4
        result = phases.new_empty(batch, 2 * height, 2 * width, out).permute(0, 3, 1, 2)  # channels last
        for number, phase in enumerate(torch.split(phases, out, dim=1)):
            row, column = divmod(number, 2)
            result[:, :, row::2, column::2] = phase[:, :, row : row + height, column : column + width]
        return cast(Tensor, result)


class StripedEnd(nn.Module):
    """The UNet's last block and the head."""

    def __init__(self, block: Block, head: nn.Module) -> None:
        super().__init__()
        self.end = nn.Sequential(DoubledConvolution(cast(nn.Sequential, block.conv1)), block.conv2, head)

    def forward(self, x: Tensor, skip: None) -> Tensor:
        """(B, C, h, w) -> (B, 1, 2h, 2w)."""
        assert skip is None
        height = x.shape[2]
        rows = max(1, STRIP_PX // (len(x) * x.shape[3])) if x.device.type == "cpu" else height
        if rows >= height:
            return self.end(x)  # type: ignore[no-any-return]
        strips = []
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            # A row more at each side: the two convolutions' zeros at a cut spoil the two doubled rows beside it.
            first, last = max(top - 1, 0), min(bottom + 1, height)
            strips.append(self.end(x[:, :, first:last])[:, :, 2 * (top - first) : 2 * (bottom - first)])
        return torch.cat(strips, dim=2)
