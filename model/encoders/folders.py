"""A trained network as a folder, as model hubs hold it: config.json, model.safetensors, and a card, README.md.

A folder says what a checkpoint of training says, so whatever opens one opens the other. Nothing in it is run.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors.torch import save
from torch import Tensor

from configs.errors import BadRequest, Failure
from model.encoders.weight_files import read_torch, read_weights

CONFIG, TENSORS, CARD = "config.json", "model.safetensors", "README.md"
LIBRARY = "metauas-pipeline"
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
        if path.suffix.lower() == ".onnx":
            raise BadRequest(f"{path}: an exported file, which model.predict alone takes; pass the checkpoint")
        return read_torch(path)
    try:
        config = json.loads((path / CONFIG).read_text())
        system, said = str(config["system"]), dict(config["checkpoint"])
        if "recipe" in said.get("network", {}):  # JSON has no tuples
            recipe = said["network"]["recipe"]
            recipe |= {name: tuple(recipe[name]) for name in ("mean", "std")}
    except OSError as error:
        raise BadRequest(
            f"{path}: a folder without {CONFIG} ({error.strerror}); python -m model.weights C --save FOLDER makes one"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(f"{path / CONFIG}: not of this project ({type(error).__name__}: {error})") from None
    if not (path / TENSORS).is_file():
        raise BadRequest(f"{path}: a folder without {TENSORS}; complete it, or make it anew")
    state, _ = read_weights(path / TENSORS)
    return {system: said, "state_dict": {f"{STATE_PREFIX}{key}": value for key, value in state.items()}}


def write_folder(
    folder: str | Path, system: str, said: Mapping[str, Any], state: Mapping[str, Tensor], card: str
) -> None:
    """Write a network's folder, in place of one of ours that is there; it appears whole or not at all.

    Args:
        folder: made if it is not there.
        system: whose network it is.
        said: plain values that the checkpoint says of itself.
        state: the network's tensors.
        card: Markdown, for people.

    Raises:
        BadRequest: there is another folder of that name.
        Failure: it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not _is_ours(folder):
        raise BadRequest(f"{folder}: is there, and is no folder of a network of ours; pass another name")
    config = {"library": LIBRARY, "system": system, "checkpoint": said}
    try:
        aside, old = (
            folder.absolute().with_name(f"{folder.absolute().name}.{part}") for part in ("partial", "replaced")
        )
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
        # safetensors refuses tensors that share memory, and views; a file that it writes itself nobody else may read.
        (aside / TENSORS).write_bytes(save({key: value.detach().clone().contiguous() for key, value in state.items()}))
        (aside / CARD).write_text(card)
        (aside / CONFIG).write_text(json.dumps(config, indent=1) + "\n")
        if folder.exists():
            folder.rename(old)
        aside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise Failure(f"{folder}: cannot be written ({error.strerror})") from None


def _is_ours(folder: Path) -> bool:
    """Whether a folder is empty, or holds a network of ours and nothing else."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    try:
        return names <= {CONFIG, TENSORS, CARD} and json.loads((folder / CONFIG).read_text())["library"] == LIBRARY
    except (OSError, ValueError, KeyError, TypeError):
        return False


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
