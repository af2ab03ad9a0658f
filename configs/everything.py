"""The whole of params.yaml in one schema."""

from configs.cluster import Cluster
from configs.evaluate import Evaluate
from configs.index import Data, Index
from configs.inpaint import Inpaint
from configs.model import Model
from configs.parts import Parts
from configs.quality import Quality
from configs.scenes import Scenes
from configs.section import Params, Size
from configs.synth import Synth
from configs.train import Train
from configs.visible import Visible


class Everything(Params):
    """Every parameter; the stages read parts of it."""

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
    model: Model
    train: Train
    evaluate: Evaluate
