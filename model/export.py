"""Write a network as an ONNX file: inputs `prompt` and `query`, output `probability`; of a OneNIP output `map`.

    python -m model.export --checkpoint models/metauas/best.ckpt --size 256 --out metauas.onnx
    python -m model.export --checkpoint models/metauas/best.ckpt --size 608 256 --out tall.onnx
    python -m model.export --checkpoint models/metauas/best.ckpt --prompt nut.png --normals good/ --out nut.onnx

The size H x W is fixed, the batch is not: `prompt` and `query` are float32 (B, 3, H, W), RGB in [0, 1], `probability`
of a change is float32 (B, 1, H, W), as is a `map`, in which 1 is twice the scale that normal images set. With
--shared-prompt `prompt` is one image (1, 3, H, W), encoded once for all queries of a batch. The file is held against
the network before it takes its name.

With --prompt the file is for one kind of object: the prompts' features are inside, the only input is `query`, and the
outputs are `map` and `score`, float32 (B,). Its metadata say how to bring an image to it (size, stretch), of which
prompts and checkpoint it is, and, with --normals, the threshold that normal images set (see model.predict).
docs/onnx_alone.py runs such a file with numpy, OpenCV and onnxruntime alone.
"""

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from configs.errors import BadRequest, run
from model.encoders import TENSORS, sha256_of
from model.inference import (
    Inside,
    Notes,
    Speed,
    Told,
    View,
    add_threshold_options,
    check_export,
    find_images,
    find_normals,
    open_engine,
    own_size,
    read_images,
    set_threshold,
    write_onnx,
)
from model.systems import Network, is_metacan, open_network

BATCH = 8


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
    parser.add_argument(
        "--prompt", nargs="+", metavar="IMAGES", help="normal images to keep inside; the mean of their maps counts"
    )
    add_threshold_options(parser)
    args = parser.parse_args(argv)
    if args.out.resolve() == args.checkpoint.resolve():
        raise BadRequest(f"--out {args.out}: would be written over the checkpoint; pass another name")
    if args.size and len(args.size) > 2:
        raise BadRequest(f"--size {' '.join(map(str, args.size))}: wanted a side, or height and width")
    normals = find_normals(args)
    if (normals or args.shared_prompt) and bool(args.prompt) == args.shared_prompt:
        raise BadRequest("--normals and --prompt go together, and --shared-prompt is for a file without prompts inside")
    if is_metacan(args.checkpoint):
        raise BadRequest(f"{args.checkpoint}: a MetaCAN, whose image tower is a file of its own, is not exported")
    network = open_network(args.checkpoint)
    size = (args.size[0], args.size[-1]) if args.size else own_size(network)
    check_export(network, size)  # before normal images are gone through
    inside = _inside(args, network, normals, size) if args.prompt else None
    difference = write_onnx(network, args.out, size, shared_prompt=args.shared_prompt, inside=inside)
    megabytes = args.out.stat().st_size / 1e6
    print(f"{args.out}: {megabytes:.1f} MB, {size[0]} x {size[1]} px, within {difference:.1e} of the network")
    return 0


def _inside(args: argparse.Namespace, network: Network, normals: Sequence[Path], size: tuple[int, int]) -> Inside:
    """The prompts of a file, and what it says of itself.

    Raises:
        BadRequest: an image is missing, or there are too few normal ones.
        Failure: one cannot be read.
    """
    paths = find_images(args.prompt)
    prompts = [Told(name=path.name, sha256=sha256_of(path)) for path in paths]
    engine = open_engine(args.checkpoint, paths, View(size), "maps", Speed(), BATCH)
    threshold = None
    if normals:
        known = [prompt.sha256 for prompt in prompts]
        threshold = set_threshold(engine, normals, known, engine.score, args.false_alarms, BATCH)
    file = args.checkpoint / TENSORS if args.checkpoint.is_dir() else args.checkpoint
    notes = Notes(
        version=version("metauas-pipeline"),
        input="query, float32 (B, 3, height, width), RGB in [0, 1]; it is normalised inside",
        size=list(engine.size),
        stretch=engine.how,
        image_score=engine.score,
        prompts=prompts,
        checkpoint=Told(name=args.checkpoint.name, sha256=sha256_of(file)),
        data=network.facts.get("pairs"),
        threshold=threshold,
    )
    return Inside(torch.stack(list(read_images(paths, engine.size, engine.how))), notes)


if __name__ == "__main__":
    run(main)
