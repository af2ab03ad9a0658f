"""Files of weights: reading them without running code from them, and fitting them to an encoder."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from configs.model import PIP_WEIGHTS

SHOWN_KEYS = 3  # in an error; the rest are counted


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a flat dict of tensors and what the file says of itself (safetensors metadata; nothing for a torch file).

    Raises:
        BadRequest: the file is missing, damaged, or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise BadRequest(
            f"model.weights = {path}: no such file; pass none, imagenet, {', '.join(PIP_WEIGHTS)}, or a"
            " .safetensors or torch file"
        )
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = read_torch(path)
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise BadRequest(f"{path}: holds other things than tensors; wanted a flat dict of tensors")
    return dict(state), {}


def read_torch(path: Path) -> dict[str, Any]:
    """Read a torch file that holds a dict of tensors and plain values.

    Raises:
        BadRequest: it is not such a file, or reading it would run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused right after
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  # what damaged bytes raise in torch's reader has no narrower class
        # torch's own advice is to switch off what keeps a file from running code.
        reason = str(error).splitlines()[0].partition("Re-running")[0].strip() if str(error) else "it ends early"
        raise BadRequest(f"{path}: not a torch file of plain tensors ({reason})") from None
    if not isinstance(content, dict):
        raise BadRequest(f"{path}: holds a {type(content).__name__}, wanted a dict of tensors")
    return content


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file of any kind.

    Raises:
        Failure: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Failure(f"{path}: cannot be read: {error.strerror}") from None


def fit(net: nn.Module, state: Mapping[str, Tensor], path: str | Path, optional: Iterable[str]) -> None:
    """Load `state`, read from `path`, into `net`; keys in `optional` may be there for nothing (a classifier).

    Raises:
        BadRequest: keys are missing, unexpected or of another shape, or hold NaN or infinity.
    """
    # Files from before torch 0.4.1 have no counters of batches, and nothing here reads them.
    counters = {key for key in net.state_dict() if key.endswith("num_batches_tracked")}
    wanted = {key: value for key, value in net.state_dict().items() if key not in counters - state.keys()}
    check_keys(wanted, state, path, type(net).__name__, optional)
    check_finite({key: state[key] for key in wanted}, path)
    net.load_state_dict({key: state[key] for key in wanted}, strict=False)


def check_keys(
    wanted: Mapping[str, Tensor],
    state: Mapping[str, object],
    path: str | Path,
    name: str,
    optional: Iterable[str] = (),
) -> None:
    """Hold the `state` of a file against the tensors that the network `name` wants.

    Raises:
        BadRequest: keys are missing, unexpected (and not `optional`), of another shape, or hold no tensor.
    """
    faults = {
        "missing": wanted.keys() - state.keys(),
        "unexpected": state.keys() - wanted.keys() - set(optional),
        "of another shape": [
            key for key, value in state.items() if key in wanted and getattr(value, "shape", None) != wanted[key].shape
        ],
    }
    if any(faults.values()):
        said = "; ".join(f"{len(keys)} {fault} ({_some(keys)})" for fault, keys in faults.items() if keys)
        raise BadRequest(f"{path}: keys do not fit {name}: {said}; is it another network's file?")


def check_finite(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Refuse weights of which no map could be trusted: attention and some activations turn a NaN into a number.

    Raises:
        BadRequest: a tensor of `state`, read from `path`, holds NaN or infinity as float32.
    """
    wrong = [key for key, value in state.items() if not value.float().isfinite().all()]
    if wrong:
        values = state[wrong[0]].float()
        share = f"{int((~values.isfinite()).sum())} of {values.numel()} values"
        raise BadRequest(
            f"{path}: {len(wrong)} of {len(state)} tensors hold NaN or infinity, first {wrong[0]} ({share}); pass"
            " another checkpoint"
        )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118  # no mapping
    except SafetensorError as error:
        raise BadRequest(f"{path}: not a safetensors file ({error})") from None


def _some(keys: Iterable[str]) -> str:
    ordered = sorted(keys)
    return ", ".join(ordered[:SHOWN_KEYS]) + (", ..." if len(ordered) > SHOWN_KEYS else "")
