"""Parameters of stage `inpaint`."""

from typing import Annotated, Literal

from pydantic import Field

from configs.cluster import Cluster
from configs.index import Data
from configs.section import Count, Params, Range, Section, Size
from configs.visible import Visible


class Inpaint(Section):
    """Objects removed from images (paper, section 3.3: "disappearance")."""

    filler: Literal["opencv_telea", "opencv_ns", "lama"]
    fill_at: Literal["pair", "native"]
    lama_weights: str | None
    lama_batch: Count
    pairs_per_shard: Count
    store: str | None
    variants_per_image: Count
    max_instances: Count
    area_share: Range
    crowds: bool
    dilate_px: Annotated[int, Field(ge=0, le=64)]
    tries: Count


class InpaintParams(Params):
    """What stage `inpaint` reads."""

    size_px: Size
    data: Data
    cluster: Cluster
    visible: Visible
    inpaint: Inpaint
