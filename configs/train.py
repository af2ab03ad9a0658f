"""Parameters of stage `train`: the augmentation and the recipe."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from configs.features import Clip, Features
from configs.model import MetaCANModel, Model, OneNIPModel
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
    cache_gb: Annotated[float, Field(ge=0)]
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


class MetaCANTrain(Section):
    """MetaCAN's AD meta-learning (paper, section 3.4); an outer step learns from one task of each category."""

    epochs: Count
    steps_per_epoch: Count
    shots: Count
    support: Annotated[int, Field(ge=2, multiple_of=2)]
    query: Annotated[int, Field(ge=2, multiple_of=2)]
    inner_lr: Annotated[float, Field(ge=0)]
    lr: Annotated[float, Field(gt=0)]
    first_order: bool
    only_last_task: bool
    fresh_adam: bool
    remember: bool
    select_by: Literal["val_loss", "val_i_auroc", "last"]
    checkpoint_steps: Count
    keep_memory: bool
    augment: None


# What changes how a run goes, but not what it comes to.
WITHOUT_EFFECT = frozenset({"loader_workers", "cache_gb", "checkpoint_steps", "keep_memory", "sheet_epochs"})


class TrainParams(Params):
    """What stage `train` reads for MetaUAS."""

    model: Model
    train: Train

    @property
    def weights(self) -> str:
        """Where what does not learn comes from, or what it begins with."""
        return self.model.weights


class OneNIPTrainParams(Params):
    """What stage `train` reads for OneNIP."""

    model: OneNIPModel
    train: OneNIPTrain

    @property
    def weights(self) -> str:
        """As `TrainParams.weights`."""
        return self.model.weights

    @model_validator(mode="after")
    def _a_refiner_learns_from_damage(self) -> Self:
        if self.model.refiner and not self.train.restoration:
            raise ValueError("model.refiner is true and train.restoration false; a refiner learns from damaged images")
        return self


class MetaCANTrainParams(Params):
    """What stage `train` reads for MetaCAN."""

    features: Features
    model: MetaCANModel
    train: MetaCANTrain

    @property
    def clip(self) -> Clip:
        """How the features were made."""
        assert self.features.clip is not None, "checked when the parameters were read"
        return self.features.clip

    @property
    def weights(self) -> str:
        """As `TrainParams.weights`: CLIP's."""
        return self.clip.weights

    @model_validator(mode="after")
    def _features_are_made(self) -> Self:
        if self.features.clip is None:
            raise ValueError("MetaCAN learns from features, but features.clip is null; see configs/metacan_mvtec.yaml")
        return self


AnyTrainParams = TrainParams | OneNIPTrainParams | MetaCANTrainParams
