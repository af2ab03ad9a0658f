"""Parameters of stage `inpaint`."""

from typing import Annotated, Literal

from pydantic import Field

from configs.cluster import Cluster
from configs.index import Data
from configs.section import Count, Params, Section, ShareRange, Size


class Inpaint(Section):
    """Objects removed from images (paper, section 3.3: "disappearance")."""

    filler: Literal["opencv_telea", "opencv_ns", "lama"]
    fill_at: Literal["pair", "native"]
    lama_weights: str | None
    lama_batch: Count
    pairs_per_shard: Count
    store: str | None
    variants_per_image: Count
    max_instances: Count | None
    area_share: ShareRange
    crowds: bool
    dilate_px: Annotated[int, Field(ge=0, le=64)]
    tries: Count


class InpaintParams(Params):
    """What stage `inpaint` reads."""

    size_px: Size
    data: Data
    cluster: Cluster
    inpaint: Inpaint
