"""Parameters of stage `features`: what MetaCAN learns from, instead of pixels."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.cluster import Cluster
from configs.layouts import Layout
from configs.section import Count, Params, Section

Tasks = Literal["groups", "kinds", "categories"]

BLOCKS = 12  # of ViT-B-16-plus-240


class Towers(Section):
    """Sizes of CLIP's two towers; see `model.encoders.ClipSizes`."""

    image_px: Count
    patch_px: Count
    width: Count
    blocks: Count
    heads: Count
    embedding: Count
    text_width: Count
    text_blocks: Count
    text_heads: Count


class Clip(Section):
    """Which images CLIP's image tower sees, and what is kept of them."""

    weights: str
    layout: Literal["pairs"] | Layout
    tasks: Tasks
    least_photographs: Count
    val_share: Annotated[float, Field(gt=0, lt=1)]
    blocks: Annotated[list[Count], Field(min_length=3, max_length=3)]
    towers: Towers | None
    images_per_shard: Count
    store: str | None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        depth = self.towers.blocks if self.towers else BLOCKS
        first, second, third = self.blocks
        if not first < second < third <= depth:
            raise ValueError(f"blocks are {self.blocks}; wanted three of 1 to {depth}, ascending")
        if self.tasks != "groups" and self.layout != "pairs":
            raise ValueError(
                f"layout {self.layout} has groups alone, and no {self.tasks} of changes; set tasks to groups"
            )
        return self


class Features(Section):
    """Of what features are kept, and how; not at all for the systems that learn from pixels."""

    source: str
    clip: Clip | None


class FeaturesParams(Params):
    """What stage `features` reads."""

    features: Features
    cluster: Cluster
