"""The networks of all systems that find anomalies by normal images, and which of them a checkpoint holds."""

from pathlib import Path

from configs.evaluate import ImageScore
from configs.model import System
from model import metacan, metauas, onenip
from model.encoders import read_content
from model.metacan import CHECKPOINT as METACAN
from model.metacan import MetaCAN, is_released
from model.metauas import MetaUAS
from model.onenip import CHECKPOINT as ONENIP
from model.onenip import OneNIP, published_kind

Network = MetaUAS | OneNIP | MetaCAN
VERSIONS: dict[System, int] = {  # of what checkpoints say of themselves
    "metauas": metauas.CHECKPOINT_VERSION,
    "onenip": onenip.CHECKPOINT_VERSION,
    "metacan": metacan.CHECKPOINT_VERSION,
}
IMAGE_SCORES: dict[System, ImageScore] = {
    "metauas": "max",
    "onenip": "pooled",
    "metacan": "own",
}  # as each paper's code takes them


def open_network(path: str | Path, clip_weights: str | Path | None = None) -> Network:
    """The network of a checkpoint, in evaluation mode: of this project's training, or published; a file or a folder.

    Args:
        path: of the checkpoint.
        clip_weights: open_clip's file, which a MetaCAN's image tower is read from; the others do without.

    Raises:
        BadRequest: no such file, no checkpoint of these systems, a damaged one, or one whose tensors do not fit; or no
            CLIP file for a MetaCAN, or another than it was trained with.
    """
    path = Path(path)
    content = read_content(path)
    if METACAN in content or is_released(content):
        return MetaCAN.from_checkpoint(path, clip_weights)
    if ONENIP in content or published_kind(content):
        return OneNIP.from_checkpoint(path)
    return MetaUAS.from_checkpoint(path)


def is_metacan(path: Path) -> bool:
    """Whether a file is a checkpoint of MetaCAN, this project's or the released one; it is read for that."""
    content = read_content(path)
    return METACAN in content or is_released(content)


def system_of(network: Network) -> System:
    """Which system a network is of."""
    if isinstance(network, MetaCAN):
        return "metacan"
    return "onenip" if isinstance(network, OneNIP) else "metauas"
