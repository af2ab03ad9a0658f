"""Parameters of the network."""

from typing import Annotated, Literal

from pydantic import Field

from configs.section import Count, Section

Strategy = Literal["soft", "hard", "none"]
Similarity = Literal["dot", "scaled", "cosine"]
Levels = Literal[3, 4]
Fusion = Literal["concat", "add", "absdiff", "concat+absdiff"]
Decoder = Literal["unet", "fpn-add", "fpn-cat"]
Prompt = Literal["none", "static", "dynamic"]  # of OneNIP, as the next
Bidirectional = Literal["v1", "v2"]


class Model(Section):
    """The network (paper, section 3.2); its ablations (Table 3) are one parameter each."""

    encoder: str
    weights: str
    freeze_encoder: bool
    alignment: Strategy
    similarity: Similarity
    levels: Levels
    fusion: Fusion
    decoder: Decoder
    decoder_channels: Annotated[list[Count], Field(min_length=4, max_length=5)]
