"""Anomaly maps of images, compared with one or several normal ones.

    python -m model.predict --checkpoint best.ckpt --prompt normal.png --query q.png --out heat.png
    python -m model.predict --checkpoint metauas.onnx --prompt normal.png --query 'line/*.png' --out heat --npy --json

`--prompt` and `--query` take files, folders and globs. Images are stretched bilinearly to the network's size, corners
on corners, as the published protocol does. For one query --out may be a file; otherwise it is a folder, in which maps
lie as the queries do below their common folder. A heat map's colours run from 0 to 1, the probability of a change.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from glob import glob
from os.path import commonpath
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest, Failure, run
from model.benchmark import SUFFIXES, read_image
from model.inference import Predictor, Speed, Together, open_engine, stretch, to_batch
from pipeline.arrays import Image
from pipeline.progress import track

Map = npt.NDArray[np.float32]
OVERLAY_OPACITY = 0.5


def predict(
    compare: Predictor, paths: Sequence[Path], size: tuple[int, int], batch_size: int, *, own_size: bool = False
) -> Iterator[tuple[Path, Image, Map]]:
    """Yield path, image and map float32 in [0, 1] of each query, in order.

    Args:
        compare: of `torch_compare` or `onnx_compare`.
        paths: of the queries.
        size: (H, W) at which they are compared.
        batch_size: queries at a time.
        own_size: maps are stretched to their image's own size; otherwise image and map are of `size`.

    Raises:
        Failure: an image cannot be read.
    """
    for start in range(0, len(paths), batch_size):
        some = paths[start : start + batch_size]
        images = [read_image(path) for path in some]
        batch = to_batch(images, size)
        for path, image, stretched, found in zip(some, images, batch, compare(batch).float(), strict=True):
            if own_size:
                height, width = image.shape[:2]
                yield path, image, stretch(found[None], (height, width))[0, 0].numpy()
            else:
                yield path, (stretched * 255).round().byte().permute(1, 2, 0).numpy(), found[0].numpy()


def heat_map(probability: Map, image: Image | None = None) -> Image:
    """Colour a map of [0, 1] as RGB uint8 (H, W, 3), black to yellow; over `image` (H, W, 3) if there is one."""
    levels = (probability.clip(0, 1) * 255).round().astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    if image is not None:
        colours = cv2.addWeighted(colours, OVERLAY_OPACITY, image, 1 - OVERLAY_OPACITY, 0)
    return colours.astype(np.uint8, copy=False)


def find_images(wanted: Sequence[str]) -> list[Path]:
    """The image files that are named, lie in a named folder (not below it) or match a glob; each once, in order.

    Raises:
        BadRequest: one of `wanted` gives no image.
    """
    found: dict[Path, None] = {}
    for name in wanted:
        paths = sorted(Path(name).iterdir()) if Path(name).is_dir() else [Path(name)]
        if not Path(name).exists():
            paths = [Path(match) for match in sorted(glob(name, recursive=True))]  # noqa: PTH207  # absolute globs, too
        images = [path for path in paths if path.is_file() and path.suffix.lower() in SUFFIXES]
        if not images:
            raise BadRequest(f"{name}: no image there; wanted a file, folder or glob of {', '.join(sorted(SUFFIXES))}")
        found |= dict.fromkeys(images)
    return list(found)


def name_outputs(queries: Sequence[Path], out: Path) -> list[Path]:
    """Where each query's heat map goes: `out` itself if it is a .png, else below it as the queries lie.

    Raises:
        BadRequest: a file for several queries, two queries of one name, or a map in the place of a query.
    """
    if out.suffix.lower() == ".png":
        if len(queries) > 1:
            raise BadRequest(f"--out {out}: one file for {len(queries)} queries; pass a folder")
        outputs = [out]
    else:
        common = Path(commonpath([path.parent.absolute() for path in queries]))
        outputs = [out / path.absolute().relative_to(common).with_suffix(".png") for path in queries]
    sources = {path.resolve() for path in queries}
    for output in outputs:
        if output.resolve() in sources or outputs.count(output) > 1:
            fault = "would be written over a query" if output.resolve() in sources else "is the map of two queries"
            raise BadRequest(f"--out {out}: {output} {fault}; pass another folder, or fewer queries")
    return outputs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    args = _parser().parse_args(argv)
    if args.batch_size < 1:
        raise BadRequest(f"--batch-size is {args.batch_size}; wanted 1 or more")
    prompts, queries = find_images(args.prompt), find_images(args.query)
    outputs = name_outputs(queries, args.out)
    speed = Speed(args.device, args.bf16, args.compile)
    compare, size = open_engine(args.checkpoint, prompts, args.size, args.together, speed, args.batch_size)
    scores = {}
    results = predict(compare, queries, size, args.batch_size, own_size=args.own_size)
    for (path, image, found), output in zip(track(results, "predict", len(queries)), outputs, strict=True):
        _write_png(output, heat_map(found, image if args.overlay else None))
        if args.npy:
            np.save(output.with_suffix(".npy"), found)
        scores[str(path)] = {"score": float(found.max()), "map": str(output)}
    if args.json:
        folder = args.out.parent if args.out.suffix.lower() == ".png" else args.out
        said = {"size": list(size), "prompts": [str(path) for path in prompts], "queries": scores}
        (folder / "scores.json").write_text(json.dumps(said, indent=1) + "\n")
    if len(scores) == 1:
        print(f"score {next(iter(scores.values()))['score']:.4f} (largest probability of a change)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="of our training, published, or exported .onnx")
    parser.add_argument(
        "--prompt", nargs="+", required=True, metavar="IMAGES", help="normal images: files, folders or globs"
    )
    parser.add_argument(
        "--query", nargs="+", required=True, metavar="IMAGES", help="images to look at: files, folders or globs"
    )
    parser.add_argument("--out", type=Path, required=True, help="a .png for one query, or a folder")
    parser.add_argument("--size", type=int, help="side in pixels (default: the checkpoint's own, or 256)")
    parser.add_argument(
        "--together",
        choices=get_args(Together),
        default="maps",
        help="several prompts: mean of maps (default) or of aligned features, or the best match of each query",
    )
    parser.add_argument("--overlay", action="store_true", help="draw the heat map over the image")
    parser.add_argument("--own-size", action="store_true", help="maps at each image's own size")
    parser.add_argument("--npy", action="store_true", help="also write each map as float32, beside the PNG")
    parser.add_argument("--json", action="store_true", help="also write scores.json: the largest probability of each")
    parser.add_argument("--batch-size", type=int, default=8, help="images at a time (default: 8)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile; minutes once")
    return parser


def _write_png(path: Path, image: Image) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes())
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from None


if __name__ == "__main__":
    run(main)
