"""Write a network as an ONNX file: inputs `prompt` and `query`, output `probability`.

    python -m model.export --checkpoint models/metauas/best.ckpt --size 256 --out metauas.onnx

The size is fixed, the batch is not: `prompt` and `query` are float32 (B, 3, SIZE, SIZE), RGB in [0, 1], `probability`
of a change is float32 (B, 1, SIZE, SIZE). With --shared-prompt `prompt` is one image (1, 3, SIZE, SIZE), encoded once
for all queries of a batch. The file is held against the network before it takes its name.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.errors import BadRequest, run
from model.inference import square_size, write_onnx
from model.metauas import MetaUAS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m model.export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="of this project's training, or published")
    parser.add_argument("--size", type=int, help="pixels (default: the size it was trained at, or 256)")
    parser.add_argument("--out", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--shared-prompt", action="store_true", help="one prompt for all queries of a batch")
    args = parser.parse_args(argv)
    if args.out.resolve() == args.checkpoint.resolve():
        raise BadRequest(f"--out {args.out}: would be written over the checkpoint; pass another name")
    network = MetaUAS.from_checkpoint(args.checkpoint)
    size = args.size or square_size(network)
    difference = write_onnx(network, args.out, size, shared_prompt=args.shared_prompt)
    megabytes = args.out.stat().st_size / 1e6
    print(f"{args.out}: {megabytes:.1f} MB, {size} x {size} px, within {difference:.1e} of the network")
    return 0


if __name__ == "__main__":
    run(main)
