"""Say what a file of weights is; nothing in it is run.

    python -m model.weights metauas-256.ckpt [--json]

It tells the published checkpoints (MetaUAS, OneNIP, UniAD, MetaCAN), this project's own, open_clip's file and timm's
weights of the paper's encoders apart, counts the parameters of the network that they make and gives the file's sha256.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from configs.errors import BadRequest, run
from model.encoders import ARCHITECTURE, Encoder, check_keys, is_clip, read_clip, read_torch, read_weights
from model.metacan import CHECKPOINT as METACAN
from model.metacan import MetaCAN, is_released, read_checkpoint
from model.metauas import CHECKPOINT, MetaUAS, is_published
from model.onenip import CHECKPOINT as ONENIP
from model.onenip import OneNIP, has_encoder, published_kind

ENCODERS = ("tf_efficientnet_b4", "tf_efficientnet_b6", "efficientvit_b3", "mobilenetv2_100")  # of the paper's Table 3b


@dataclass(frozen=True)
class Description:
    """What a file is. Parameters are those of the network or the encoder that it fills; buffers are not counted."""

    file: str
    kind: str
    sha256: str
    parameters: int
    learned: int  # in training, as the file says or the paper does


def describe(path: Path) -> Description:
    """Find out what a file of weights is.

    Raises:
        BadRequest: it is missing, holds more than plain tensors and values, or is none that is known.
    """
    kind, parts = _recognise(path)
    parameters = [parameter for part in parts for parameter in part.parameters()]
    every = sum(parameter.numel() for parameter in parameters)
    learned = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Description(str(path), kind, digest, every, learned)


def _recognise(path: Path) -> tuple[str, list[nn.Module]]:
    """What a file is, in words, and what it fills."""
    tensors_only = path.suffix == ".safetensors"
    content = {} if tensors_only or not path.is_file() else read_torch(path)
    if CHECKPOINT in content:
        metauas = MetaUAS.from_checkpoint(path)
        height, width = metauas.size or (0, 0)
        encoder = metauas.arguments["encoder"]
        return f"this project's checkpoint, encoder {encoder}, trained at {height} x {width} px", [metauas]
    if is_published(content):
        kind = "published MetaUAS, for 256 or 512 px: both are one architecture, so the file cannot tell"
        return kind, [MetaUAS.from_checkpoint(path)]
    if ONENIP in content:
        return _onenip(path)
    if system := published_kind(content):
        return _published_onenip(content, path, system)
    if METACAN in content or is_released(content):
        return _metacan(path)
    if is_clip(content):
        clip = read_clip(path, "model.weights", "file")
        towers = [clip.image_tower(), *([clip.text_tower()] if clip.has_text else [])]
        return f"open_clip's {ARCHITECTURE}, {'both towers' if clip.has_text else 'the image tower alone'}", towers
    state, said = read_weights(path)
    name = said.get("architecture") or _encoder_of(path, state)
    return f"timm's weights of the encoder {name}", [Encoder(name, str(path), frozen=True)]


def _onenip(path: Path) -> tuple[str, list[nn.Module]]:
    """As `_recognise`, of this project's checkpoint of OneNIP."""
    network = OneNIP.from_checkpoint(path)
    height, width = network.size
    prompt, encoder = network.arguments["prompt"], network.arguments["encoder"]
    return f"this project's OneNIP, prompt {prompt}, encoder {encoder}, for {height} x {width} px", [network]


def _published_onenip(content: Mapping[str, Any], path: Path, system: str) -> tuple[str, list[nn.Module]]:
    """As `_recognise`, of a published checkpoint of OneNIP or UniAD. The encoder counts, whether it is there or not."""
    network = OneNIP.from_published(content, path)
    height, width = network.size
    kind = f"published {system} for {height} x {width} px"
    kind += "" if system == "UniAD" else ", of before or after the decoder's fix: the file cannot tell"
    kind += "" if has_encoder(content) else "; without its encoder, whose parameters are counted all the same"
    return kind, [network]


def _metacan(path: Path) -> tuple[str, list[nn.Module]]:
    """As `_recognise`, of a checkpoint of MetaCAN. The image tower counts, though it lies in a file of its own."""
    saved = read_checkpoint(path)
    with torch.device("meta"):
        network = MetaCAN(**saved.arguments)
    wanted = network.published_tensors() if saved.published else network.state_dict()
    check_keys(wanted, saved.state, path, "MetaCAN")
    if saved.published:
        return "published MetaCAN, without CLIP's towers and without text", [network]
    terms = ", ".join(network.terms)
    return f"this project's MetaCAN, of {terms}, trained with CLIP weights of sha256 {saved.clip_sha256}", [network]


def _encoder_of(path: Path, state: Mapping[str, Tensor]) -> str:
    """The encoder of the paper whose tensors these are."""
    for name in ENCODERS:
        with torch.device("meta"):
            wanted = timm.create_model(name).state_dict()
        if state.keys() <= wanted.keys() and all(value.shape == wanted[key].shape for key, value in state.items()):
            return name
    raise BadRequest(
        f"{path}: {len(state)} tensors, of no network known here: neither MetaUAS, OneNIP, UniAD, MetaCAN,"
        f" {ARCHITECTURE} nor timm's"
        f" {', '.join(ENCODERS)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m model.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a torch or safetensors file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(argv)
    found = describe(args.file)
    if args.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print(f"{found.file}: {found.kind}")
        print(f"sha256 {found.sha256}")
        print(f"{found.parameters:,} parameters, of which {found.learned:,} learn")
    return 0


if __name__ == "__main__":
    run(main)
