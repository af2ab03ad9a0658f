"""The networks of all systems that find anomalies by normal images, and which of them a checkpoint holds."""

from pathlib import Path

from configs.errors import BadRequest
from configs.evaluate import ImageScore
from configs.model import System
from model.encoders import read_torch
from model.metacan import CHECKPOINT as METACAN
from model.metacan import is_released
from model.metauas import MetaUAS
from model.onenip import CHECKPOINT as ONENIP
from model.onenip import OneNIP, published_kind

Network = MetaUAS | OneNIP
IMAGE_SCORES: dict[System, ImageScore] = {"metauas": "max", "onenip": "pooled"}  # as each paper's code takes them


def open_network(path: str | Path) -> Network:
    """The network of a checkpoint, in evaluation mode: of this project's training, or published.

    Raises:
        BadRequest: no such file, no checkpoint of these systems, a damaged one, or one whose tensors do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise BadRequest(f"{path}: no such checkpoint; `dvc repro train` makes models/<system>/best.ckpt")
    content = read_torch(path)
    if METACAN in content or is_released(content):
        raise BadRequest(f"{path}: a MetaCAN; it is used from Python, see model.metacan, and by no command yet")
    if ONENIP in content or published_kind(content):
        return OneNIP.from_checkpoint(path)
    return MetaUAS.from_checkpoint(path)


def system_of(network: Network) -> System:
    """Which system a network is of."""
    return "onenip" if isinstance(network, OneNIP) else "metauas"
