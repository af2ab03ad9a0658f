"""Parameters of stage `evaluate`."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from configs.layouts import Layout
from configs.section import Count, Params, Section, Size
from configs.train import Augment

Protocol = Literal["exact", "paper"]
Variant = Literal["one", "one+patchcore", "each", "best", "best+clip", "pool", "winclip+"]
ImageScore = Literal["max", "top", "pooled", "own"]


class Evaluate(Section):
    """The benchmark a checkpoint is scored on, and how (paper, section 4.1)."""

    layout: Layout
    root: str
    lists: str | None
    categories: Annotated[list[str], Field(min_length=1)] | None
    limit: Count | None
    size_px: Size | None
    keep_aspect: bool
    scales: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)]
    image_score: ImageScore
    protocol: Protocol
    variants: Annotated[list[Variant], Field(min_length=1)]
    shots: Count
    shots_mean: Literal["maps", "features"]
    seeds: Count
    prompts: Annotated[list[str], Field(min_length=1)] | None
    clip_weights: str | None
    batch_size: Count
    keep_memory: bool
    sheet_rows: Count

    @model_validator(mode="after")
    def _looks_as_its_protocol(self) -> Self:
        if self.protocol == "paper" and (self.keep_aspect or self.scales != [1.0] or self.image_score == "top"):
            raise ValueError(
                "protocol paper stretches every image to one square, looks once and takes the highest pixel (OneNIP: a"
                " pooled one); set keep_aspect to false, scales to [1.0] and image_score to max or pooled, or take"
                " protocol exact"
            )
        if self.keep_aspect and "pool" in self.variants:
            raise ValueError("variant pool compares images of all categories; set keep_aspect to false")
        return self


class _Augmented(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    augment: Augment | None


class EvaluateParams(Params):
    """What stage `evaluate` reads; of `train` the augmentation, with which val pairs are warped, if there is one."""

    train: _Augmented
    evaluate: Evaluate
