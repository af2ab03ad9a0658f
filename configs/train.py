"""Parameters of stage `train`: the augmentation and the recipe."""

from typing import Annotated, Literal

from pydantic import Field

from configs.model import Model
from configs.section import Count, Params, PositiveRange, Section, Share

Jitter = Literal["published", "mean_grey"]


class Augment(Section):
    """Strength of the random warp and colour change, drawn for prompt and query apart (paper, section 3.3)."""

    rotate_deg: Annotated[float, Field(ge=0, le=180)]
    translate_share: Share
    scale: PositiveRange
    jitter: Jitter
    brightness: Share
    contrast: Share
    saturation: Share
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Train(Section):
    """The recipe (paper, appendix A)."""

    epochs: Count
    max_pairs: Count | None
    batch_size: Count
    device_batch: Count | None
    lr: Annotated[float, Field(gt=0)]
    alignment_lr_share: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["constant", "cosine"]
    clip_norm: Annotated[float, Field(gt=0)] | None
    whiten_alignment: bool
    unchanged_share: Share
    select_by: Literal["val_loss", "val_pixel_ap"]
    devices: Count
    precision: Literal[32, "bf16-mixed"]
    compile: bool
    shuffle_pairs: Count
    loader_workers: Annotated[int, Field(ge=0)]
    checkpoint_steps: Count
    keep_memory: bool
    sheet_epochs: Count | None
    augment: Augment


# What changes how a run goes, but not what it comes to.
WITHOUT_EFFECT = frozenset({"loader_workers", "checkpoint_steps", "keep_memory", "sheet_epochs"})


class TrainParams(Params):
    """What stage `train` reads."""

    model: Model
    train: Train
