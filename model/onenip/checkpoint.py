"""What a checkpoint of this project's training says of a OneNIP; training writes it as it writes that of a MetaUAS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from configs.errors import BadRequest
from model.encoders import STATE_PREFIX, Preprocessing

CHECKPOINT = "onenip"  # the key of a checkpoint under which stands what is not a tensor
CHECKPOINT_VERSION = 1


def read_own(content: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The arguments and the state dict of the network in a checkpoint's `content`.

    Raises:
        BadRequest: it is another's, of another version, or damaged.
    """
    said = content.get(CHECKPOINT)
    found = said.get("version") if isinstance(said, Mapping) else "none"
    if not isinstance(said, Mapping) or found != CHECKPOINT_VERSION:
        raise BadRequest(
            f"{path}: neither a OneNIP of version {CHECKPOINT_VERSION} of this project (found {found}) nor a published"
            " OneNIP or UniAD"
        )
    try:
        arguments = dict(said["network"])
        preprocessing = Preprocessing(**arguments.pop("recipe"))
        state = {
            key.removeprefix(STATE_PREFIX): value
            for key, value in content["state_dict"].items()
            if key.startswith(STATE_PREFIX)
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path}: a damaged OneNIP checkpoint ({type(error).__name__}: {error})") from None
    return arguments | {"preprocessing": preprocessing}, state
