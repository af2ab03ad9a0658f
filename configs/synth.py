"""Parameters of stage `synth`."""

from typing import Annotated

from pydantic import Field

from configs.cluster import Cluster
from configs.section import Chance, Count, Params, PositiveRange, Section, Share, ShareRange
from configs.visible import Visible


class Local(Section):
    """Perlin local changes (paper, section 3.3; DRAEM)."""

    textures: Count
    max_scale_log2: Annotated[int, Field(ge=0, le=6)]
    threshold: Annotated[float, Field(ge=0, lt=1)]
    texture_weight: ShareRange


class Paste(Section):
    """Pasted objects (paper, section 3.3: "exchange")."""

    max_instances: Count
    crowds: bool
    area_share: ShareRange
    scale: PositiveRange
    rotate_deg: Annotated[float, Field(ge=0, le=180)]
    min_inside: Share
    feather_px: Annotated[int, Field(ge=0, le=64)]


class Synth(Section):
    """The pairs and how they are mixed."""

    local_prob: Chance
    paste_prob: Chance
    unchanged_prob: Chance
    pairs_per_image: Count
    pairs_per_shard: Count
    store: str | None
    area_share: ShareRange
    tries: Count
    paste: Paste
    local: Local


class SynthParams(Params):
    """What stage `synth` reads."""

    cluster: Cluster
    visible: Visible
    synth: Synth
