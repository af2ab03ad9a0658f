"""What a checkpoint of this project says beside its tensors, read strictly: a damaged one is a line, no traceback."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.errors import BadRequest
from configs.model import Model
from configs.section import Section, Side, explain
from model.encoders import STATE_PREFIX, Preprocessing

CHECKPOINT = "metauas"  # the key of a checkpoint under which stands what is not a tensor
CHECKPOINT_VERSION = 1

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Preprocessing(Section):
    """As `Preprocessing`."""

    mean: tuple[Finite, Finite, Finite]
    std: tuple[Positive, Positive, Positive]
    pad_type: str


class _Network(Model):
    """As `MetaUAS.arguments`: the weights are the checkpoint's own."""

    system: Literal["metauas"] = "metauas"
    learns_from: Literal["pairs"] = "pairs"
    weights: str = "none"
    distances: bool = False  # of checkpoints from before there were any
    recipe: _Preprocessing


class _Content(BaseModel):
    """What there must be; of training there is more."""

    model_config = ConfigDict(extra="ignore", strict=True)

    network: _Network
    size: Annotated[list[Side], Field(min_length=2, max_length=2)]
    state_dict: dict[str, Any]


@dataclass(frozen=True)
class Metadata:
    """All that `MetaUAS` needs of a checkpoint."""

    arguments: dict[str, Any]  # but for weights and preprocessing
    preprocessing: Preprocessing
    size: tuple[int, int]  # height and width in pixels it was trained at
    state: dict[str, Any]  # by the network's keys; not yet known to be tensors


def read_metadata(content: Mapping[str, Any], path: str | Path) -> Metadata:
    """Take apart the `content` of a checkpoint that was read from `path`.

    Raises:
        BadRequest: it is of another version or of another program, or a part is missing or not what it should be.
    """
    said = content.get(CHECKPOINT)
    version = said.get("version") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(version, int) or version != CHECKPOINT_VERSION:
        raise BadRequest(
            f"{path}: neither a checkpoint of version {CHECKPOINT_VERSION} of this project (found"
            f" {version if isinstance(version, int) else 'none'}) nor a published one"
        )
    try:
        whole = _Content.model_validate({**said, "state_dict": content.get("state_dict")})
    except ValidationError as error:
        raise BadRequest(f"{path}: no whole checkpoint: {'; '.join(map(explain, error.errors()))}") from None
    return Metadata(
        arguments=whole.network.model_dump(exclude={"system", "learns_from", "weights", "recipe"}),
        preprocessing=Preprocessing(**whole.network.recipe.model_dump()),
        size=(whole.size[0], whole.size[1]),
        state={
            key.removeprefix(STATE_PREFIX): value
            for key, value in whole.state_dict.items()
            if key.startswith(STATE_PREFIX)
        },
    )
