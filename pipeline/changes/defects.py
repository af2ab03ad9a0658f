"""The kinds of defects: small changes of what a picture itself shows. A new kind is a file and two lines here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.changes.cutpaste import CutPaste, apply_cutpaste, draw_cutpaste
from pipeline.changes.dent import Dent, apply_dent, draw_dent
from pipeline.changes.gloss import Gloss, apply_gloss, draw_gloss
from pipeline.changes.poisson import Poisson, apply_poisson, draw_poisson
from pipeline.changes.repeat import Repeat, apply_repeat, draw_repeat
from pipeline.changes.stain import Stain, apply_stain, draw_stain
from pipeline.changes.stroke import Stroke, apply_stroke, draw_stroke

CUTPASTE = "cutpaste"
Defect = CutPaste | Dent | Gloss | Poisson | Repeat | Stain | Stroke


@dataclass(frozen=True)
class Kind:
    """One kind of defect."""

    draw: Callable[[np.random.Generator], Any]
    apply: Callable[[Image, Sequence[Image], Any], tuple[Image, Mask]]  # the picture, other images, the draw
    donors: int = 0  # how many other images


# The order is that of the numbers that seed their draws: new ones come last.
DEFECTS: Mapping[str, Kind] = {
    "stroke": Kind(draw_stroke, apply_stroke),
    "stain": Kind(draw_stain, apply_stain),
    "dent": Kind(draw_dent, apply_dent),
    "poisson": Kind(draw_poisson, apply_poisson, donors=1),
    "repeat": Kind(draw_repeat, apply_repeat),
    "gloss": Kind(draw_gloss, apply_gloss),
    CUTPASTE: Kind(draw_cutpaste, apply_cutpaste),
}
