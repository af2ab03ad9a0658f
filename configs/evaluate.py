"""Parameters of stage `evaluate`."""

from typing import Literal

from configs.section import Count, Params, Section
from configs.train import Train


class Evaluate(Section):
    """The benchmark a checkpoint is scored on."""

    layout: Literal["mvtec"]
    root: str
    protocol: Literal["exact"]
    batch_size: Count
    sheet_rows: Count


class EvaluateParams(Params):
    """What stage `evaluate` reads; of `train` the augmentation, with which val pairs are warped."""

    train: Train
    evaluate: Evaluate
