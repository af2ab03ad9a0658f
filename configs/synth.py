"""Parameters of stage `synth`."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from configs.cluster import Cluster
from configs.section import Chance, Count, Params, PositiveRange, Section, Share, ShareRange
from configs.visible import Visible


class Local(Section):
    """Perlin local changes (paper, section 3.3; DRAEM)."""

    textures: Count
    texture_folder: str | None
    min_scale_log2: Annotated[int, Field(ge=0, le=6)]
    max_scale_log2: Annotated[int, Field(ge=0, le=6)]
    rotate_deg: Annotated[float, Field(ge=0, le=180)]
    threshold: Annotated[float, Field(ge=0, lt=1)]
    texture_weight: ShareRange

    @model_validator(mode="after")
    def _scales_are_ordered(self) -> Self:
        if self.min_scale_log2 > self.max_scale_log2:
            raise ValueError(f"min_scale_log2 {self.min_scale_log2} is above max_scale_log2 {self.max_scale_log2}")
        return self


class Paste(Section):
    """Pasted objects (paper, section 3.3: "exchange")."""

    max_instances: Count
    crowds: bool
    area_share: ShareRange
    scale: PositiveRange
    rotate_deg: Annotated[float, Field(ge=0, le=180)]
    min_inside: Share
    feather_px: Annotated[int, Field(ge=0, le=64)]


class Ground(Section):
    """Pictures made of surfaces instead of a photograph."""

    drawn_share: Share
    piece_share: Share


class Variation(Section):
    """How much two normal pictures of one thing differ, at most."""

    light: Annotated[float, Field(ge=0, lt=1)]
    ramp: Annotated[float, Field(ge=0, le=1)]
    blur_px: Annotated[float, Field(ge=0)]
    noise_levels: Annotated[float, Field(ge=0, le=255)]
    jpeg_quality: Annotated[int, Field(ge=1, le=95)]
    elastic: Share


class Synth(Section):
    """The pairs and how they are mixed."""

    local_prob: Chance
    paste_prob: Chance
    unchanged_prob: Chance
    defect_prob: Chance
    cutpaste_prob: Chance
    defects: dict[str, Annotated[float, Field(ge=0)]]
    ground_prob: Chance
    variation_prob: Chance
    pairs_per_image: Count
    pairs_per_shard: Count
    store: str | None
    area_share: ShareRange
    defect_area_share: ShareRange
    tries: Count
    paste: Paste
    local: Local
    ground: Ground
    variation: Variation


class SynthParams(Params):
    """What stage `synth` reads."""

    cluster: Cluster
    visible: Visible
    synth: Synth
