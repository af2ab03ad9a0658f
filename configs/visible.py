"""What counts as a visible change."""

from typing import Annotated

from pydantic import Field

from configs.section import Section, Share


class Visible(Section):
    """What counts as a visible change; regions of a mask below it are taken back."""

    min_contrast: Annotated[int, Field(ge=1, le=255)]
    min_share: Share
