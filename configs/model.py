"""Parameters of the network."""

from typing import Annotated, Literal

from pydantic import Field

from configs.section import Count, Section


class Model(Section):
    """The network (paper, section 3.2)."""

    encoder: str
    weights: str
    freeze_encoder: bool
    alignment: Literal["soft", "hard", "none"]
    similarity: Literal["dot", "scaled", "cosine"]
    levels: Literal[3, 4]
    fusion: Literal["concat", "add", "absdiff", "concat+absdiff"]
    decoder: Literal["unet"]
    decoder_channels: Annotated[list[Count], Field(min_length=4, max_length=5)]
