"""Say what a file of weights is; nothing in it is run.

    python -m model.weights metauas-256.ckpt [--json]

It tells the published checkpoints (MetaUAS, OneNIP, UniAD), this project's own and timm's weights of the paper's
encoders apart, counts the parameters of the network that they make and gives the file's sha256.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor

from configs.errors import BadRequest, run
from model.encoders import Encoder, read_torch, read_weights
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
    tensors_only = path.suffix == ".safetensors"
    content = {} if tensors_only or not path.is_file() else read_torch(path)
    network: MetaUAS | OneNIP | Encoder
    if CHECKPOINT in content:
        network = MetaUAS.from_checkpoint(path)
        height, width = network.size or (0, 0)
        kind = f"this project's checkpoint, encoder {network.arguments['encoder']}, trained at {height} x {width} px"
    elif is_published(content):
        network = MetaUAS.from_checkpoint(path)
        kind = "published MetaUAS, for 256 or 512 px: both are one architecture, so the file cannot tell"
    elif ONENIP in content:
        network = OneNIP.from_checkpoint(path)
        height, width = network.size
        prompt, encoder = network.arguments["prompt"], network.arguments["encoder"]
        kind = f"this project's OneNIP, prompt {prompt}, encoder {encoder}, for {height} x {width} px"
    elif system := published_kind(content):
        network = OneNIP.from_published(content, path)
        height, width = network.size
        kind = f"published {system} for {height} x {width} px"
        kind += "" if system == "UniAD" else ", of before or after the decoder's fix: the file cannot tell"
        kind += "" if has_encoder(content) else "; without its encoder, whose parameters are counted all the same"
    else:
        state, said = read_weights(path)
        name = said.get("architecture") or _encoder_of(path, state)
        network = Encoder(name, str(path), frozen=True)
        kind = f"timm's weights of the encoder {name}"
    every = sum(parameter.numel() for parameter in network.parameters())
    learned = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Description(str(path), kind, digest, every, learned)


def _encoder_of(path: Path, state: Mapping[str, Tensor]) -> str:
    """The encoder of the paper whose tensors these are."""
    for name in ENCODERS:
        with torch.device("meta"):
            wanted = timm.create_model(name).state_dict()
        if state.keys() <= wanted.keys() and all(value.shape == wanted[key].shape for key, value in state.items()):
            return name
    raise BadRequest(
        f"{path}: {len(state)} tensors, of no network known here: neither MetaUAS, OneNIP, UniAD nor timm's"
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
