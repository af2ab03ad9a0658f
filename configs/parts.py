"""Parameters of stage `parts`."""

from configs.section import Count, Params, Section, Side


class Parts(Section):
    """The embedded anomaly benchmark drawn by code; counts are per category."""

    train_images: Count
    good_images: Count
    defect_images: Count
    side_px: Side


class PartsParams(Params):
    """What stage `parts` reads."""

    parts: Parts
