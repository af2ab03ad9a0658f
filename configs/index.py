"""Parameters of stage `index`, and the source it reads."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.section import Count, Params, Section, Share

SourceLayout = Literal["coco", "categories"]


class Data(Section):
    """A source: a folder of photographs with its COCO instances JSON, or the normal images of categories."""

    layout: SourceLayout
    images: str
    annotations: str

    @model_validator(mode="after")
    def _categories_have_no_annotations(self) -> Self:
        if self.layout == "categories" and self.annotations != self.images:
            raise ValueError(
                f"layout categories has no annotations; name the folder of images again, {self.images}, which DVC then"
                " watches"
            )
        return self


class Index(Section):
    """Which images take part, and in which split."""

    images: Count
    val_share: Share
    licences: Annotated[list[int], Field(min_length=1)] | None
    max_unreadable_share: Share


class IndexParams(Params):
    """What stage `index` reads."""

    data: Data
    index: Index
