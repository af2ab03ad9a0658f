"""The published checkpoints, `metauas-256.ckpt` and `metauas-512.ckpt`: their names for what is ours.

They hold a flat dict of 820 tensors, the encoder named as efficientnet_pytorch names EfficientNet-b4 where ours is
timm's. Both sizes are of one architecture, so nothing in a file tells which it is.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from model.encoders import Preprocessing, check_finite, check_keys, efficientnet_pytorch_key

ENCODER = "tf_efficientnet_b4"
PREPROCESSING = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), pad_type=""
)  # timm pads "tf_" models as wanted


def published_key(key: str) -> str:
    """The published name of an entry of `MetaUAS().state_dict()`."""
    part, _, rest = key.partition(".")
    if part == "alignment":
        return key.replace(".project.", ".alignment_layer.dimensionality_reduction.")
    if part != "encoder":
        return key
    return f"encoder.{efficientnet_pytorch_key(rest.removeprefix('net.'))}"


def is_published(content: Mapping[str, object]) -> bool:
    """Whether a file's content has the published checkpoints' names, whole or not."""
    return any(str(key).startswith("encoder._") for key in content)


def load_published(network: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Load the published `state`, read from `path`, into the paper's network.

    Raises:
        BadRequest: keys are missing, unexpected, of another shape, or hold NaN or infinity; they are named as the file
            names them.
    """
    wanted = network.state_dict()
    names = {key: published_key(key) for key in wanted}
    check_keys({names[key]: value for key, value in wanted.items()}, state, path, "the published MetaUAS")
    check_finite(state, path)
    network.load_state_dict({key: state[name] for key, name in names.items()})
