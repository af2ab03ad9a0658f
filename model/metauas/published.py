"""The published checkpoints, `metauas-256.ckpt` and `metauas-512.ckpt`: their names for what is ours.

They hold a flat dict of 820 tensors, the encoder named as efficientnet_pytorch names EfficientNet-b4 where ours is
timm's. Both sizes are of one architecture, so nothing in a file tells which it is.
"""

from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from torch import Tensor, nn

from model.encoders import Preprocessing, check_finite, check_keys

ENCODER = "tf_efficientnet_b4"
PREPROCESSING = Preprocessing(
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), pad_type=""
)  # timm pads "tf_" models as wanted

BLOCKS = (2, 4, 4, 6, 6, 8, 2)  # of EfficientNet-b4, by stage; the published file numbers them through
FIRST = (0, *accumulate(BLOCKS))  # the number of each stage's first block

# Our name of a module: the published one. The first stage does not expand, so its names are shifted.
FIRST_STAGE = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
OTHER_STAGES = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}
EXCITATION = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
OUTSIDE = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}


def published_key(key: str) -> str:
    """The published name of an entry of `MetaUAS().state_dict()`."""
    part, _, rest = key.partition(".")
    if part == "alignment":
        return key.replace(".project.", ".alignment_layer.dimensionality_reduction.")
    if part != "encoder":
        return key
    module, _, leaf = rest.removeprefix("net.").rpartition(".")
    if not module.startswith("blocks."):
        return f"encoder.{OUTSIDE[module]}.{leaf}"
    _, stage, block, name = module.split(".", 3)
    names = EXCITATION | (OTHER_STAGES if int(stage) else FIRST_STAGE)
    return f"encoder._blocks.{FIRST[int(stage)] + int(block)}.{names[name]}.{leaf}"


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
