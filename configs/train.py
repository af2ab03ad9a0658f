"""Parameters of stage `train`: the augmentation and the recipe."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.model import Model, OneNIPModel
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


class Recipe(Section):
    """What all systems learn by."""

    epochs: Count
    max_pairs: Count | None
    batch_size: Count
    device_batch: Count | None
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["constant", "cosine", "step"]
    clip_norm: Annotated[float, Field(gt=0)] | None
    select_by: Literal["val_loss", "val_pixel_ap"]
    devices: Count
    precision: Literal[32, "bf16-mixed"]
    shuffle_pairs: Count
    loader_workers: Annotated[int, Field(ge=0)]
    checkpoint_steps: Count
    keep_memory: bool
    sheet_epochs: Count | None


class Train(Recipe):
    """MetaUAS's recipe (paper, appendix A)."""

    alignment_lr_share: Annotated[float, Field(gt=0)]
    whiten_alignment: bool
    unchanged_share: Share
    compile: bool
    augment: Augment


class OneNIPTrain(Recipe):
    """OneNIP's recipe (paper, section 4.1; the released code)."""

    prompts: Literal["random", "fixed"]
    restoration: bool
    standardised_start: bool
    jitter: Annotated[float, Field(ge=0)]
    dice_weight: Annotated[float, Field(ge=0)]
    keep_features: bool
    augment: None


# What changes how a run goes, but not what it comes to.
WITHOUT_EFFECT = frozenset({"loader_workers", "checkpoint_steps", "keep_memory", "sheet_epochs"})


class TrainParams(Params):
    """What stage `train` reads for MetaUAS."""

    model: Model
    train: Train


class OneNIPTrainParams(Params):
    """What stage `train` reads for OneNIP."""

    model: OneNIPModel
    train: OneNIPTrain

    @model_validator(mode="after")
    def _a_refiner_learns_from_damage(self) -> Self:
        if self.model.refiner and not self.train.restoration:
            raise ValueError("model.refiner is true and train.restoration false; a refiner learns from damaged images")
        return self


AnyTrainParams = TrainParams | OneNIPTrainParams
