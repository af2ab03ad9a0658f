"""Parameters of stage `index`, and the source it reads."""

from configs.section import Count, Params, Section, Share


class Data(Section):
    """A COCO-format source: a folder of images and its instances JSON."""

    images: str
    annotations: str


class Index(Section):
    """Which images take part, and in which split."""

    images: Count
    val_share: Share
    max_unreadable_share: Share


class IndexParams(Params):
    """What stage `index` reads."""

    data: Data
    index: Index
