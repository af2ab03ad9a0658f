"""Say what a file of weights is; nothing in it is run.

    python -m model.weights metauas-256.ckpt [--json]
    python -m model.weights models/metauas/best.ckpt --save nut --report reports   # config.json, safetensors and a card
    python -m model.weights metauas-256.ckpt --save metauas --size 256

It tells the published checkpoints (MetaUAS, OneNIP, UniAD, MetaCAN), this project's own, open_clip's file and timm's
weights of the paper's encoders apart, counts the parameters of the network that they make and gives the file's sha256.
With --save a network becomes a folder as model hubs hold it, which every command takes as --checkpoint, and
`MetaUAS.from_pretrained(folder)` and its like load.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from configs.errors import BadRequest, run
from model.card import NAMES, card
from model.encoders import (
    ARCHITECTURE,
    STRIDES,
    TENSORS,
    Encoder,
    check_keys,
    is_clip,
    read_clip,
    read_content,
    read_weights,
    sha256_of,
    write_folder,
)
from model.metacan import CHECKPOINT as METACAN
from model.metacan import MetaCAN, is_released, read_checkpoint
from model.metauas import CHECKPOINT, MetaUAS, is_published
from model.onenip import CHECKPOINT as ONENIP
from model.onenip import OneNIP, has_encoder, published_kind
from model.systems import VERSIONS, open_network, system_of

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
    return Description(str(path), kind, _sha256(path), every, learned)


def _sha256(path: Path) -> str:
    return sha256_of(path / TENSORS if path.is_dir() else path)


def _recognise(path: Path) -> tuple[str, list[nn.Module]]:
    """What a file is, in words, and what it fills."""
    tensors_only = path.suffix == ".safetensors"
    content = {} if tensors_only or not path.exists() else read_content(path)
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
        try:
            network = MetaCAN(**saved.arguments)
        except TypeError as error:
            raise BadRequest(f"{path}: a damaged MetaCAN checkpoint ({error})") from None
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


def save(args: argparse.Namespace, sha256: str) -> None:
    """Write the folder of a network, and say so.

    Raises:
        BadRequest: the file is no network, its size is not known, or there is no such report.
    """
    network = open_network(args.file, args.clip_weights)
    system = system_of(network)
    table = args.report / "table.md" if args.report else None
    if table and not table.is_file():
        raise BadRequest(f"--report {args.report}: no table.md there; wanted a folder that `evaluate` wrote")
    if args.size and network.size is not None:
        height, width = network.size
        raise BadRequest(f"--size: {args.file} says itself that it is for {height} x {width} px; leave it out")
    size = network.size or _size(args)
    said = {**network.facts, "version": VERSIONS[system], "network": network.arguments, "size": list(size)}
    source = f"{args.file.name}, sha256 `{sha256}`"
    report = f"As `evaluate` wrote them in {args.report}:\n\n{table.read_text()}" if table else None
    text = card(system, said, source, report, published=not network.facts)
    write_folder(args.save, system, said, network.state_dict(), text)
    print(f"{args.save}: {NAMES[system]}, as config.json, model.safetensors and README.md", file=sys.stderr)


def _size(args: argparse.Namespace) -> tuple[int, int]:
    """That of a published MetaUAS, as the command line says."""
    if not args.size:
        raise BadRequest(f"{args.file}: the file does not say at which size it was trained; pass --size 256 or 512")
    if len(args.size) > 2 or any(side < STRIDES[-1] or side % STRIDES[-1] for side in args.size):
        raise BadRequest(f"--size {' '.join(map(str, args.size))}: wanted a side or two, multiples of {STRIDES[-1]}")
    return args.size[0], args.size[-1]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m model.weights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="a torch or safetensors file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the network there: config, tensors and card")
    parser.add_argument("--size", type=int, nargs="+", help="that a published MetaUAS was trained at: 256 or 512")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="of `evaluate`: its table.md goes into the card")
    parser.add_argument("--clip-weights", type=Path, help="file of ViT-B-16-plus-240, to save a MetaCAN")
    args = parser.parse_args(argv)
    if not args.save and (args.size or args.report or args.clip_weights):
        raise BadRequest("--size, --report and --clip-weights are of --save; pass it too, or leave them out")
    found = describe(args.file)
    if args.save:
        save(args, found.sha256)
    if args.json:
        print(json.dumps(asdict(found), indent=1))
    else:
        print(f"{found.file}: {found.kind}")
        print(f"sha256 {found.sha256}")
        print(f"{found.parameters:,} parameters, of which {found.learned:,} learn")
    return 0


if __name__ == "__main__":
    run(main)
