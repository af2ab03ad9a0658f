"""Anomaly maps of images, compared with one or several normal ones.

    python -m model.predict --checkpoint best.ckpt --prompt normal.png --query q.png --out heat.png
    python -m model.predict --checkpoint metauas.onnx --prompt normal.png --query 'line/*.png' --out heat --npy --json
    python -m model.predict ... --normals good/ --false-alarms 0.01     # decide: which of them are anomalous, and where
    python -m model.predict --checkpoint nut.onnx --query line --out heat  # exported with its prompt and its threshold

`--prompt` and `--query` take files, folders and globs; a name that exists is taken as it is, whatever brackets are in
it. Images are stretched bilinearly to the network's size, corners on corners, as the published protocol does; by pixel
areas for a OneNIP, as its pairs were; of a MetaCAN the middle square is cut out, as CLIP's are. For one query --out may
be a file; otherwise it is a folder, in which maps lie as the queries do below their common folder. Colours run from 0
to 1: the probability of a change; of a OneNIP 1 is twice the scale that normal images set; of a MetaCAN it is half of
one minus the cosine, the mean of three levels.

With --normals, further normal images, each is compared with the prompts, and a threshold is set that on average at
most a share --false-alarms of such images is above (99 are needed to vouch for 1 %). Each query is then called normal
or anomalous by its score; the regions of an anomalous one, where its map is above what the normal images' maps reach
at that rate, are listed with --json and framed with --overlay.

A query that cannot be read, or whose map holds NaN or infinity, is left out; the others are done, it is named at the
end, and the exit status is 1. With --json each result is a line of scores.jsonl as soon as its map is written. At the
end scores.json holds them all and takes its place; after a kill the lines are what was done, until the next run.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np

from configs.errors import BadRequest, Failure, run
from configs.evaluate import ImageScore
from model.inference import (
    Engine,
    Map,
    Predicted,
    Region,
    Speed,
    Threshold,
    Together,
    View,
    add_threshold_options,
    boxed,
    find_images,
    find_normals,
    heat_map,
    name_outputs,
    open_engine,
    predict,
    prompt_digests,
    regions_of,
    score_of,
    set_threshold,
)
from pipeline.arrays import Image
from pipeline.progress import track

Line = dict[str, Any]  # what is told of a query, as JSON
SCORES = {
    "max": "highest pixel of the map",
    "top": "mean of the highest 0.2 % of the smoothed map",
    "pooled": "highest mean of 16 x 16 px of the map",
    "own": "MetaCAN's own, Eq. 8",
}
NAMED_FAILURES = 3  # in a line; the rest are counted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    args = _parser().parse_args(argv)
    if args.batch_size < 1:
        raise BadRequest(f"--batch-size is {args.batch_size}; wanted 1 or more")
    prompts, queries = find_images(args.prompt or ()), find_images(args.query)
    normals = find_normals(args)
    outputs = name_outputs(queries, [*prompts, *normals], args.out)
    _warn_of_prompts_among(queries, prompts)
    speed = Speed(args.device, args.bf16, args.compile)
    view = View(args.size, args.keep_aspect, tuple(args.scales))
    engine = open_engine(args.checkpoint, prompts, view, args.together, speed, args.batch_size, args.clip_weights)
    args.score = args.score or engine.score
    if args.score == "own" != engine.score:
        raise BadRequest(f"--score own: {args.checkpoint} has no score but of its maps; pass max, top or pooled")
    args.threshold = _threshold(engine, args, prompts, normals)
    results = predict(engine, queries, args.batch_size, own_size=args.own_size)
    folder = args.out.parent if args.out.suffix.lower() == ".png" else args.out
    lines = folder / "scores.jsonl" if args.json else None
    scores, failed = _write_maps(zip(track(results, "predict", len(queries)), outputs, strict=True), lines, args)
    if lines:
        said = {
            "size": list(engine.size),
            "prompts": [told.name for told in engine.notes.prompts] if engine.notes else list(map(str, prompts)),
            "score": SCORES[args.score],
            "threshold": args.threshold and asdict(args.threshold),
            "queries": scores,
            "failed": failed,
        }
        _write(folder / "scores.json", (json.dumps(said, indent=1) + "\n").encode())
        lines.unlink(missing_ok=True)
    if failed:
        named = "; ".join(list(failed.values())[:NAMED_FAILURES])
        more = f"; and {len(failed) - NAMED_FAILURES} more" if len(failed) > NAMED_FAILURES else ""
        raise Failure(f"predict: {len(failed)} of {len(queries)} queries have no map: {named}{more}")
    if len(queries) == 1:
        (only,) = scores.values()
        decided = f": {'anomalous' if only['anomalous'] else 'normal'}" if args.threshold else ""
        print(f"score {only['score']:.4f} ({SCORES[args.score]}){decided}")
    elif args.threshold:
        print(f"{sum(bool(line['anomalous']) for line in scores.values())} of {len(scores)} queries are anomalous")
    return 0


def _threshold(
    engine: Engine, args: argparse.Namespace, prompts: Sequence[Path], normals: Sequence[Path]
) -> Threshold | None:
    """That of the normal images that are no prompts, or that of an exported file; None where there is neither."""
    notes = engine.notes
    if normals:
        known, rate = prompt_digests(engine, prompts), args.false_alarms
        return set_threshold(engine, normals, known, args.score, rate, args.batch_size, own_size=args.own_size)
    if notes and notes.threshold and (args.own_size or args.score != engine.score):
        raise BadRequest(
            f"{args.checkpoint}: its threshold is of its own size and score; leave --own-size and --score out, or pass"
            " --normals to set another"
        )
    return notes.threshold if notes else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True, help="of our training, published, or exported .onnx")
    parser.add_argument(
        "--prompt",
        nargs="+",
        metavar="IMAGES",
        help="normal images: files, folders or globs; only a file that was exported with some has its own",
    )
    parser.add_argument(
        "--query", nargs="+", required=True, metavar="IMAGES", help="images to look at: files, folders or globs"
    )
    parser.add_argument("--out", type=Path, required=True, help="a .png for one query, or a folder")
    parser.add_argument("--size", type=int, help="side in pixels (default: the checkpoint's own, or 256)")
    parser.add_argument(
        "--keep-aspect",
        action="store_true",
        help="of the first prompt, at the area of the square",
    )
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], help="of the size, maps averaged (default: 1)"
    )
    parser.add_argument(
        "--score",
        choices=get_args(ImageScore),
        help="of an image: its highest pixel (default for MetaUAS), the mean of the top 0.2 %% of its smoothed map, or"
        " its highest mean of 16 x 16 px (default for OneNIP), or MetaCAN's own (its default), as each paper's code",
    )
    parser.add_argument(
        "--together",
        choices=get_args(Together),
        default="maps",
        help="several prompts: mean of maps (default) or of aligned features, or the best match of each query",
    )
    add_threshold_options(parser)
    parser.add_argument("--clip-weights", type=Path, help="file of ViT-B-16-plus-240, for a MetaCAN")
    parser.add_argument("--overlay", action="store_true", help="draw the heat map over the image")
    parser.add_argument(
        "--own-size", action="store_true", help="maps at each image's own size; 0 where a MetaCAN's square leaves out"
    )
    parser.add_argument("--npy", action="store_true", help="also write each map as float32, beside the PNG")
    parser.add_argument(
        "--json", action="store_true", help="also write the score of each: scores.jsonl, then scores.json"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="images at a time (default: 8)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile; minutes once")
    return parser


def _warn_of_prompts_among(queries: Sequence[Path], prompts: Sequence[Path]) -> None:
    known = {path.resolve() for path in prompts}
    same = [str(path) for path in queries if path.resolve() in known]
    if same:
        named = ", ".join(same[:NAMED_FAILURES]) + (", .." if len(same) > NAMED_FAILURES else "")
        print(f"warning: {len(same)} of {len(queries)} queries are prompts, too: {named}", file=sys.stderr)


def _write_maps(
    results: Iterable[tuple[tuple[Path, Predicted | Failure], Path]],
    lines: Path | None,
    args: argparse.Namespace,
) -> tuple[dict[str, Line], dict[str, str]]:
    """Write each map where it belongs, and of each query a line to `lines`: scores and failures by query."""
    scores: dict[str, Line] = {}
    failed: dict[str, str] = {}
    if lines:
        _write(lines, b"")
    for (path, found), output in results:
        if isinstance(found, Failure):
            failed[str(path)] = str(found)
            line: Line = {"error": str(found)}
        else:
            score = score_of(found, args.score)
            line = scores[str(path)] = {"score": score, "map": str(output)}
            boxes: list[Region] = []
            if args.threshold:
                anomalous = score > args.threshold.score
                boxes = regions_of(found.map, args.threshold.pixel) if anomalous else []
                line |= {"anomalous": anomalous, "regions": [asdict(box) for box in boxes]}
            shown = heat_map(found.map, found.image if args.overlay else None)
            _write(output, _png(boxed(shown, boxes) if args.overlay else shown))
            if args.npy:
                _write(output.with_suffix(".npy"), _npy(found.map))
        if lines:
            with _writing(lines), lines.open("a") as file:
                file.write(json.dumps({"query": str(path), **line}) + "\n")
    return scores, failed


def _png(image: Image) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def _npy(shown: Map) -> bytes:
    stored = BytesIO()
    np.save(stored, shown)
    return stored.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    aside = path.with_name(f"{path.name}.partial")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content)
        aside.replace(path)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"cannot write {path}: {error.strerror}") from None


if __name__ == "__main__":
    run(main)
