"""Parameters of stage `scenes`."""

from configs.section import Count, Params, Section


class Scenes(Section):
    """The embedded COCO-format photographs drawn by code."""

    images: Count


class ScenesParams(Params):
    """What stage `scenes` reads."""

    scenes: Scenes
