"""A trained network as a folder, as model hubs hold it: config.json, model.safetensors, and a card, README.md.

A folder says what a checkpoint of training says, so whatever opens one opens the other. Nothing in it is run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors.torch import save
from torch import Tensor

from configs.errors import BadRequest, Failure
from model.encoders.weight_files import read_torch, read_weights

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
STATE_PREFIX = "network."  # of the network's keys in a checkpoint's state_dict


def read_content(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint: a torch file, or a folder of `write_folder`.

    Raises:
        BadRequest: there is none, or it is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.is_file():
            raise BadRequest(f"{path}: no such checkpoint; `dvc repro train` makes models/<system>/best.ckpt")
        return read_torch(path)
    try:
        config = json.loads((path / CONFIG).read_text())
        system, said = config["system"], dict(config["checkpoint"])
        if "recipe" in said.get("network", {}):  # JSON has no tuples
            recipe = said["network"]["recipe"]
            recipe |= {name: tuple(recipe[name]) for name in ("mean", "std")}
    except OSError as error:
        raise BadRequest(
            f"{path}: a folder without {CONFIG} ({error.strerror}); python -m model.weights C --save FOLDER makes one"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path / CONFIG}: not of this project ({type(error).__name__}: {error})") from None
    state, _ = read_weights(path / TENSORS)
    return {system: said, "state_dict": {f"{STATE_PREFIX}{key}": value for key, value in state.items()}}


def write_folder(
    folder: str | Path, system: str, said: Mapping[str, Any], state: Mapping[str, Tensor], card: str
) -> None:
    """Write a network's folder; a file that is there is written over.

    Args:
        folder: made if it is not there.
        system: whose network it is.
        said: plain values that the checkpoint says of itself.
        state: the network's tensors.
        card: Markdown, for people.

    Raises:
        Failure: it cannot be written.
    """
    folder = Path(folder)
    config = {"library": "metauas-pipeline", "system": system, "checkpoint": said}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # safetensors refuses tensors that share memory, and views; a file that it writes itself nobody else may read.
        (folder / TENSORS).write_bytes(save({key: value.detach().clone().contiguous() for key, value in state.items()}))
        (folder / CARD).write_text(card)
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    except OSError as error:
        raise Failure(f"{folder}: cannot be written ({error.strerror})") from None


def find_pretrained(name: str | Path) -> Path:
    """The folder of that name, or, where there is none, what a model hub has under `owner/name`, downloaded.

    Raises:
        BadRequest: it is neither, or the hub cannot be reached.
    """
    if Path(name).exists():
        return Path(name)
    try:
        return Path(snapshot_download(str(name), allow_patterns=[CONFIG, TENSORS]))
    except Exception as error:  # noqa: BLE001  # the hub's errors, and those of its network, share no narrower class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadRequest(
            f"{name}: no such folder, and not to be had from the hub ({reason}); pass a folder, or owner/name"
        ) from None
