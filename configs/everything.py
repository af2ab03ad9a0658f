"""The whole of params.yaml in one schema."""

from pathlib import Path
from typing import Self

from pydantic import model_validator

from configs.card import Card
from configs.cluster import Cluster
from configs.evaluate import Evaluate
from configs.features import Features
from configs.index import Data, Index
from configs.inpaint import Inpaint
from configs.model import MetaCANModel, Model, OneNIPModel, SystemParams
from configs.parts import Parts
from configs.quality import Quality
from configs.scenes import Scenes
from configs.section import Params, Size, load
from configs.synth import Synth
from configs.train import MetaCANTrain, MetaCANTrainParams, OneNIPTrain, OneNIPTrainParams, Train
from configs.visible import Visible


class Common(Params):
    """What all systems share."""

    size_px: Size
    data: Data
    scenes: Scenes
    parts: Parts
    index: Index
    cluster: Cluster
    visible: Visible
    inpaint: Inpaint
    synth: Synth
    quality: Quality
    card: Card
    features: Features
    evaluate: Evaluate


class Everything(Common):
    """Every parameter of MetaUAS; the stages read parts of it."""

    model: Model
    train: Train

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        _check_not_metacan(self.evaluate)
        return self


class OneNIPEverything(Common):
    """Every parameter of OneNIP; what cannot go together is refused before the first stage runs."""

    model: OneNIPModel
    train: OneNIPTrain

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        OneNIPTrainParams(seed=self.seed, model=self.model, train=self.train)
        if self.synth.variation_prob or self.synth.ground_prob:
            raise ValueError("OneNIP rebuilds the images themselves; set synth.variation_prob and ground_prob to 0")
        look = self.evaluate
        _check_not_metacan(look)
        if look.size_px is not None and _sides(look.size_px) != _sides(self.size_px):
            raise ValueError("a OneNIP is of one size; set evaluate.size_px to null")
        if look.keep_aspect or look.scales != [1.0] or look.shots_mean != "maps" or "best+clip" in look.variants:
            raise ValueError(
                "a OneNIP is of one size and compares with one prompt at a time; set evaluate.keep_aspect to false,"
                " scales to [1.0], shots_mean to maps, and leave best+clip out of variants"
            )
        return self


class MetaCANEverything(Common):
    """Every parameter of MetaCAN; what cannot go together is refused before the first stage runs."""

    model: MetaCANModel
    train: MetaCANTrain

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        params = MetaCANTrainParams(seed=self.seed, features=self.features, model=self.model, train=self.train)
        look = self.evaluate
        if look.clip_weights != params.weights:
            raise ValueError(
                f"evaluate.clip_weights is {look.clip_weights}, features.clip.weights {params.weights}; make them one"
                " file"
            )
        one = look.variants in (["one"], ["one", "winclip+"]) and look.shots_mean == "maps"
        if look.size_px is not None or look.keep_aspect or look.scales != [1.0] or not one:
            raise ValueError(
                "a MetaCAN sees CLIP's size and compares with all references at once; set evaluate.size_px to null,"
                " keep_aspect to false, scales to [1.0], shots_mean to maps, and variants to [one] or [one, winclip+]"
            )
        if look.protocol == "paper" and look.image_score != "own":
            raise ValueError("protocol paper takes MetaCAN's own score; set evaluate.image_score to own")
        learned, scored = Path(self.features.source).resolve(), Path(look.root).resolve()
        if learned.is_relative_to(scored) or scored.is_relative_to(learned):
            raise ValueError(
                f"evaluate.root {look.root} and features.source {self.features.source} lie within each other: its test"
                " images, defects and all, are learned from; name another benchmark to score on"
            )
        return self


def _check_not_metacan(look: Evaluate) -> None:
    if "winclip+" in look.variants or look.image_score == "own":
        raise ValueError("evaluate: variant winclip+ and image_score own are MetaCAN's; leave them out")


def _sides(size: int | list[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else size


def load_everything(path: str | Path = "params.yaml") -> Everything | OneNIPEverything | MetaCANEverything:
    """Read and check a whole params file; raises as `load`."""
    system = load(SystemParams, path).model.system
    if system == "metauas":
        return load(Everything, path)
    return load(OneNIPEverything, path) if system == "onenip" else load(MetaCANEverything, path)
