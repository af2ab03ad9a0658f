"""Write a network as an ONNX file: inputs `prompt` and `query`, output `probability`; of a OneNIP output `map`.

    python -m model.export --checkpoint models/metauas/best.ckpt --size 256 --out metauas.onnx
    python -m model.export --checkpoint models/metauas/best.ckpt --size 608 256 --out tall.onnx

The size H x W is fixed, the batch is not: `prompt` and `query` are float32 (B, 3, H, W), RGB in [0, 1], `probability`
of a change is float32 (B, 1, H, W), as is a `map`, in which 1 is twice the scale that normal images set. With
--shared-prompt `prompt` is one image (1, 3, H, W), encoded once for all queries of a batch. The file is held against
the network before it takes its name.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.errors import BadRequest, run
from model.inference import own_size, write_onnx
from model.systems import open_network


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m model.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="of this project's training, or published")
    parser.add_argument(
        "--size", type=int, nargs="+", help="side, or height and width, in pixels (default: as trained, or 256)"
    )
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--shared-prompt", action="store_true", help="one prompt for all queries of a batch")
    args = parser.parse_args(argv)
    if args.out.resolve() == args.checkpoint.resolve():
        raise BadRequest(f"--out {args.out}: would be written over the checkpoint; pass another name")
    if args.size and len(args.size) > 2:
        raise BadRequest(f"--size {' '.join(map(str, args.size))}: wanted a side, or height and width")
    network = open_network(args.checkpoint)
    size = (args.size[0], args.size[-1]) if args.size else own_size(network)
    difference = write_onnx(network, args.out, size, shared_prompt=args.shared_prompt)
    megabytes = args.out.stat().st_size / 1e6
    print(f"{args.out}: {megabytes:.1f} MB, {size[0]} x {size[1]} px, within {difference:.1e} of the network")
    return 0


if __name__ == "__main__":
    run(main)
