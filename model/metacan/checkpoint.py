"""What a checkpoint of MetaCAN says of itself: this project's, or the released one. Neither needs CLIP to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.errors import BadRequest
from model.encoders import STATE_PREFIX, ClipSizes, read_content

CHECKPOINT = "metacan"  # the key of a checkpoint under which stands what is not a tensor
CHECKPOINT_VERSION = 1
OF_PARALLEL = "module."  # before the names of a network that learned on several devices


@dataclass(frozen=True)
class Checkpoint:
    """A file's content."""

    arguments: dict[str, Any]  # of MetaCAN
    clip_sha256: str | None  # of the CLIP file whose features it learned from; None: the file does not say
    state: dict[str, Tensor]
    published: bool  # names of the release, and no text embeddings
    facts: dict[str, Any] = field(default_factory=dict)  # all that it says of its making


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; whether its tensors fit shows when they are loaded.

    Raises:
        BadRequest: no such file, or neither kind of checkpoint.
    """
    content = read_content(path)
    if is_released(content):
        return Checkpoint({}, None, plain_names(content), published=True)
    said = content.get(CHECKPOINT)
    if not isinstance(said, Mapping) or said.get("version") != CHECKPOINT_VERSION:
        found = said.get("version") if isinstance(said, Mapping) else "none"
        raise BadRequest(
            f"{path}: neither a MetaCAN checkpoint of version {CHECKPOINT_VERSION} of this project (found {found}) nor"
            " a released one"
        )
    try:
        arguments = dict(said["network"])
        arguments["sizes"] = ClipSizes(**arguments["sizes"])
        sha256 = arguments.pop("clip_sha256")
        state = {
            key.removeprefix(STATE_PREFIX): value
            for key, value in content["state_dict"].items()
            if key.startswith(STATE_PREFIX)
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"{path}: a damaged MetaCAN checkpoint ({type(error).__name__}: {error})") from None
    return Checkpoint(arguments, sha256, state, published=False, facts=dict(said))


def is_released(content: Mapping[str, object]) -> bool:
    """Whether a file's content has the released checkpoint's names, whole or not."""
    return any(key.removeprefix(OF_PARALLEL).startswith("diff_head.") for key in content)


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state with the names of a network that learned on one device."""
    return {key.removeprefix(OF_PARALLEL): value for key, value in state.items()}
