"""Parameters of stage `quality`."""

from configs.section import Count, Params, Section
from configs.visible import Visible


class Quality(Section):
    """How closely finished pairs are looked at."""

    pairs: Count
    sheet_pairs: Count


class QualityParams(Params):
    """What stage `quality` reads."""

    visible: Visible
    quality: Quality
