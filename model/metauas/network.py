"""MetaUAS: what differs between a query image and one normal prompt image (Gao, NeurIPS 2024, section 3.2)."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.errors import BadRequest
from configs.model import Decoder, Fusion, Levels, Similarity, Strategy
from model.encoders import (
    STRIDES,
    Encoder,
    Preprocessing,
    check_finite,
    check_keys,
    find_pretrained,
    read_content,
    write_folder,
)
from model.metauas.alignment import FUSE, FUSED_WIDTH, Alignment, nearest_distance
from model.metauas.decoder import UNetDecoder
from model.metauas.fpn import FPNDecoder
from model.metauas.metadata import CHECKPOINT, CHECKPOINT_VERSION, read_metadata
from model.metauas.published import ENCODER as PUBLISHED_ENCODER
from model.metauas.published import PREPROCESSING, is_published, load_published

ENCODED_TOGETHER_PX = 2**17  # of one image
WHITENED_AT_ONCE = 8  # images: what they leave in the encoder on the way is the most that whitening needs
START_SHARE = 0.05  # of changed pixels, as an untrained network believes

Features = Sequence[Tensor]  # of B images, (B, C, h, w) a level, from stride 2 to 32


class MetaUAS(nn.Module):
    """Encoder, alignment of the deeper levels, decoder and a 1x1 head.

    `forward(prompt, query)`: float32 (B, 3, H, W) each, RGB in [0, 1], H and W multiples of 32 -> logits float32
    (B, 1, H, W). `encode` and `compare` are its two halves, so that a prompt is encoded once for many queries.

    Args:
        encoder: a timm model; see `model.encoders.Encoder`, as for `weights`, `freeze_encoder` and `preprocessing`.
        alignment: see `model.metauas.alignment`, as for `similarity`.
        levels: how many encoder levels are aligned and fused, from the deepest; the rest pass the query's features on.
        fusion: what the decoder gets of both sides (Eq. 2).
        distances: whether the decoder also gets each aligned level's distance to the most similar prompt place, one
            channel; the paper has none.
        decoder: "unet" (paper), or a feature pyramid whose levels are merged by "fpn-add" or "fpn-cat" (Table 3c).
        decoder_channels: of the UNet's blocks; five reach the input's resolution (paper), four stop at half of it. A
            feature pyramid stops at a quarter and has the published widths whatever these are.

    Raises:
        BadRequest: an argument is unknown, or cannot be had together with another.
        Failure: ImageNet weights cannot be downloaded.
    """

    size: tuple[int, int] | None = None  # height and width it was trained at; None before training

    def __init__(
        self,
        encoder: str = "tf_efficientnet_b4",
        weights: str = "none",
        *,
        freeze_encoder: bool = True,
        alignment: Strategy = "soft",
        similarity: Similarity = "dot",
        levels: Levels = 3,
        fusion: Fusion = "concat",
        distances: bool = False,
        decoder: Decoder = "unet",
        decoder_channels: Sequence[int] = (256, 128, 64, 64, 48),
        preprocessing: Preprocessing | None = None,
    ) -> None:
        super().__init__()
        _check("alignment", alignment, get_args(Strategy))
        _check("similarity", similarity, get_args(Similarity))
        _check("levels", levels, get_args(Levels))
        _check("fusion", fusion, get_args(Fusion))
        _check("decoder", decoder, get_args(Decoder))
        _check("number of decoder_channels", len(decoder_channels), (4, 5))
        self.encoder = Encoder(encoder, weights, frozen=freeze_encoder, preprocessing=preprocessing)
        self.unaligned = len(STRIDES) - levels
        aligned = self.encoder.channels[self.unaligned :]
        # From the deepest, as in the published checkpoint.
        self.alignment = nn.ModuleList(Alignment(channels, alignment, similarity) for channels in reversed(aligned))
        self.fusion = fusion
        self.distances = distances
        fused = [channels * FUSED_WIDTH[fusion] + distances for channels in aligned]
        features = [*self.encoder.channels[: self.unaligned], *fused]
        self.decoder: UNetDecoder | FPNDecoder
        if decoder == "unet":
            self.decoder = UNetDecoder(features, decoder_channels)
        else:
            self.decoder = FPNDecoder(features, "add" if decoder == "fpn-add" else "cat")
        self.mask_head: nn.Module = nn.Conv2d(self.decoder.width, 1, kernel_size=1)
        # Changes are rare: starting near their share spares the first steps (the prior of Lin et al., 2017, RetinaNet).
        nn.init.constant_(cast(Tensor, self.mask_head.bias), math.log(START_SHARE / (1 - START_SHARE)))
        # Twice as fast on a CPU, and what a GPU's tensor cores want.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's overloads
        self.facts: dict[str, Any] = {}  # what its checkpoint says of its making
        self.arguments: dict[str, Any] = {
            "encoder": encoder,
            "freeze_encoder": freeze_encoder,
            "alignment": alignment,
            "similarity": similarity,
            "levels": levels,
            "fusion": fusion,
            "distances": distances,
            "decoder": decoder,
            "decoder_channels": list(decoder_channels),
            "recipe": asdict(self.encoder.preprocessing),
        }

    def forward(self, prompt: Tensor, query: Tensor) -> Tensor:
        """Return the logits of change of `query` against `prompt`; both are encoded in one pass.

        Without gradients on a CPU large images are encoded apart: together they are no faster and take more memory.
        """
        if prompt.shape != query.shape:
            raise BadRequest(f"prompt is {tuple(prompt.shape)}, query is {tuple(query.shape)}; make them of one size")
        large = query.shape[2] * query.shape[3] > ENCODED_TOGETHER_PX
        if large and query.device.type == "cpu" and not torch.is_grad_enabled():
            needed = self.encode(prompt)[self.unaligned :]  # the rest, the largest, is given back
            return self.compare(needed, self.encode(query))
        features = [level.chunk(2) for level in self.encode(torch.cat([prompt, query]))]  # (2B, ...) -> 2 x (B, ...)
        return self.compare([pair[0] for pair in features], [pair[1] for pair in features])

    def encode(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode float32 (B, 3, H, W) in [0, 1] -> features (B, C_i, H / 2**i, W / 2**i) for i = 1..5."""
        if images.ndim != 4 or images.shape[1] != 3 or any(side % STRIDES[-1] for side in images.shape[2:]):
            raise BadRequest(f"images are {tuple(images.shape)}; wanted (B, 3, H, W) with H and W multiples of 32")
        return self.encoder(images.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def compare(self, prompt: Features, query: Features) -> Tensor:
        """Compare features that `encode` gave -> logits float32 (B, 1, H, W); one prompt serves all queries.

        Of the prompt the aligned levels are enough.
        """
        return self.decode(query, self.align(prompt, query))

    def align(self, prompt: Features, query: Features) -> list[Tensor]:
        """The prompt's aligned levels at the query's places, each shaped as the query's (Eq. 3-6).

        With `distances` each has one channel more: see `model.metauas.alignment.nearest_distance`.
        """
        levels = len(self.alignment)
        sides = [(p.expand_as(q), q) for p, q in zip(prompt[-levels:], query[-levels:], strict=True)]
        aligned = [align(p, q) for align, (p, q) in zip(self.alignment[::-1], sides, strict=True)]
        if not self.distances:
            return aligned
        return [torch.cat([own, nearest_distance(p, q)], dim=1) for own, (p, q) in zip(aligned, sides, strict=True)]

    def decode(self, query: Features, aligned: Sequence[Tensor]) -> Tensor:
        """Fuse the query's levels with the `aligned` ones (Eq. 2) and decode -> logits float32 (B, 1, H, W)."""
        fused = [self._fuse(q, own) for q, own in zip(query[self.unaligned :], aligned, strict=True)]
        features = [*query[: self.unaligned], *fused]
        logits = self.mask_head(self.decoder(features)).float()
        height, width = (side * STRIDES[0] for side in query[0].shape[2:])
        if logits.shape[2:] != (height, width):
            logits = F.interpolate(logits, (height, width), mode="bilinear")
        return logits  # type: ignore[no-any-return]

    def _fuse(self, query: Tensor, aligned: Tensor) -> Tensor:
        """What the decoder gets of one level."""
        if not self.distances:
            return FUSE[self.fusion](query, aligned)
        return torch.cat([FUSE[self.fusion](query, aligned[:, :-1]), aligned[:, -1:]], dim=1)

    @torch.no_grad()
    def whiten_alignment(self, images: Tensor) -> None:
        """Start each level's alignment from the statistics of `images` (see `encode`); see `Alignment.whiten`.

        They may be on any device. `WHITENED_AT_ONCE` of them are encoded at a time, on the network's.

        Raises:
            BadRequest: there is no soft alignment.
        """
        if self.arguments["alignment"] != "soft":
            raise BadRequest(
                f"model: alignment {self.arguments['alignment']!r} cannot be whitened;"
                " wanted 'soft', or train.whiten_alignment: false"
            )
        was_training = self.training
        device = next(self.parameters()).device
        parts = [
            self.eval().encode(part.to(device))[self.unaligned :] for part in torch.split(images, WHITENED_AT_ONCE)
        ]
        self.train(was_training)
        levels = [torch.cat(level) for level in zip(*parts, strict=True)]
        for align, level in zip(self.alignment, levels[::-1], strict=True):  # both from the deepest
            cast(Alignment, align).whiten(level)

    def attention_statistics(self, prompt: Features, query: Features) -> dict[int, tuple[float, float]]:
        """Entropy (nats) and self-match rate of each aligned level's attention; see `Alignment.statistics`.

        Returns:
            By level l = 2 or 3 .. 5, whose features are at stride 2**l; empty without alignment.
        """
        if self.arguments["alignment"] == "none":
            return {}
        return {
            level: cast(Alignment, align).statistics(prompt[level - 1].expand_as(query[level - 1]), query[level - 1])
            for level, align in zip(range(len(STRIDES), self.unaligned, -1), self.alignment, strict=True)
        }

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Self:
        """The network of a checkpoint, in evaluation mode: of this project's training, with its `size`, or published.

        A folder of `save_pretrained` is one, too.

        Raises:
            BadRequest: no such file, neither kind of checkpoint, a damaged one, or one whose tensors do not fit or hold
                NaN or infinity.
        """
        path = Path(path)
        content = read_content(path)
        if is_published(content):
            network = cls(PUBLISHED_ENCODER, preprocessing=PREPROCESSING)
            load_published(network, content, path)
            return network.eval()
        found = read_metadata(content, path)
        try:
            network = cls(**found.arguments, preprocessing=found.preprocessing)
        except BadRequest as error:
            raise BadRequest(f"{path}: {error}") from None
        check_keys(network.state_dict(), found.state, path, cls.__name__)
        check_finite(found.state, path)
        network.load_state_dict(found.state)
        network.size = found.size
        network.facts = dict(content[CHECKPOINT])
        return network.eval()

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and a short card; `python -m model.weights --save` writes a longer one.

        Raises:
            BadRequest: it has no `size`, as one that was published has none: set it to (256, 256) or (512, 512).
            Failure: the folder cannot be written.
        """
        if self.size is None:
            raise BadRequest("MetaUAS: its size is not known; set it to what it was trained at, such as (256, 256)")
        said = {**self.facts, "version": CHECKPOINT_VERSION, "network": self.arguments, "size": list(self.size)}
        write_folder(folder, CHECKPOINT, said, self.state_dict(), "# MetaUAS\n\nOf metauas-pipeline.\n")

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """The network of a folder of `save_pretrained`, or of one on a model hub, `owner/name`, in evaluation mode.

        Raises:
            BadRequest: there is none, the hub cannot be reached, or it is another system's.
        """
        return cls.from_checkpoint(find_pretrained(name))


def _check(name: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise BadRequest(f"model: {name} is {value!r}; wanted {', '.join(map(str, known))}")
