"""The whole of params.yaml in one schema."""

from pathlib import Path

from configs.cluster import Cluster
from configs.evaluate import Evaluate
from configs.index import Data, Index
from configs.inpaint import Inpaint
from configs.model import Model, OneNIPModel, SystemParams
from configs.parts import Parts
from configs.quality import Quality
from configs.scenes import Scenes
from configs.section import Params, Size, load
from configs.synth import Synth
from configs.train import OneNIPTrain, Train
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
    evaluate: Evaluate


class Everything(Common):
    """Every parameter of MetaUAS; the stages read parts of it."""

    model: Model
    train: Train


class OneNIPEverything(Common):
    """Every parameter of OneNIP."""

    model: OneNIPModel
    train: OneNIPTrain


def load_everything(path: str | Path = "params.yaml") -> Everything | OneNIPEverything:
    """Read and check a whole params file; raises as `load`."""
    system = load(SystemParams, path).model.system
    return load(Everything, path) if system == "metauas" else load(OneNIPEverything, path)
