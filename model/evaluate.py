"""Score a checkpoint on a benchmark, outside DVC.

    python -m model.evaluate --checkpoint best.ckpt --root ../mvtec_ad --category screw --out metrics.json
    python -m model.evaluate ... --protocol paper --prompts lists/oneprompt_seed1.json lists/oneprompt_seed3.json
    python -m model.evaluate ... --variant one best pool --shots 4 --limit 20 --size 512
    python -m model.evaluate ... --variant best+clip --clip-weights vit_b_16_plus_240-laion400m_e32-699c4b84.pt

Writes metrics.json and, in a folder of its name, table.md, scores.csv, report.html, pictures, curves and, with the
times as measured, cost.md. Exit status: 0 done, 1 the work failed, 2 the request was wrong.

Scores are exact, so a large category takes disk while it is scored, in the folder that TMPDIR names: 4 bytes x normal
pixels x runs, less what 0.3 GB of memory hold. For each draw of prompts (--seeds) the variants one, one+patchcore and
pool and the baselines (two, of a MetaCAN three or four) are a run each; best and best+clip are one in all. 3,800
queries of 512 x 512 px and 5 draws of variant one come to 4 x 3,800 x 512 x 512 x 15 bytes, 60 GB.
"""

import argparse
from pathlib import Path
from typing import get_args

import torch
from pydantic import ValidationError

from configs.errors import BadRequest, run
from configs.evaluate import Evaluate, ImageScore, Protocol, Variant
from configs.layouts import Layout
from model.benchmark import Evaluation
from model.inference import open_device
from model.report import in_short, write_report
from model.systems import IMAGE_SCORES, open_network, system_of

LISTS = (
    "folder of the published train.json, test.json and best matches, to check against and to use; real-iad: of its"
    " <category>.json, such as ROOT/realiad_jsons/realiad_jsons_sv for single views"
)
VARIANTS = (
    "one: a prompt a category (MetaUAS); one+patchcore: the same, averaged with twice PatchCore's map; each: a drawn"
    " one for each query (OneNIP); best: each query's best match (MetaUAS*); best+clip: with CLIP's visual prior"
    " (MetaUAS*+); pool: the best match of all categories' prompts, the category not told; winclip+: that baseline"
    " beside a MetaCAN, seconds an image (one)"
)


def main() -> None:
    """Score a checkpoint as the command line says."""
    args = _arguments()
    _check_out(args)
    device = open_device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = open_network(args.checkpoint, args.clip_weights).to(device)
    settings = _settings(args, IMAGE_SCORES[system_of(model)])
    outcome = Evaluation(model, settings, args.seed, device).run()
    folder = args.out.with_suffix("")
    write_report(outcome, args.out, folder, f"{args.checkpoint} on {args.root}")
    print((folder / "table.md").read_text())
    print(f"evaluate: {in_short(outcome.rows, outcome.network)} ({args.out}; {folder}/report.html)")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m model.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--checkpoint", required=True, type=Path, help="of this project's training, or published")
    add("--layout", default="mvtec", choices=get_args(Layout), help="how the benchmark lies on the disk (mvtec)")
    add("--root", required=True, help="folder of the benchmark, or of one category")
    add("--lists", help=LISTS)
    add("--category", nargs="+", help="only these")
    add("--prompts", nargs="+", metavar="FILE.json", help="published oneprompt_seed*.json, one for each repetition")
    add("--protocol", default="exact", choices=get_args(Protocol), help="exact, or as the published evaluator (exact)")
    add("--variant", nargs="+", default=["one"], choices=get_args(Variant), help=VARIANTS)
    add("--shots", type=int, default=1, help="prompts a query (1)")
    add("--shots-mean", default="maps", choices=("maps", "features"), help="what several shots are averaged by (maps)")
    add("--seeds", type=int, default=1, help="how often the prompts are drawn (1; paper: 5), without --prompts")
    add("--seed", type=int, default=0, help="of the draws (0)")
    add("--size", type=int, nargs="+", help="side, or height and width, in pixels (as trained)")
    add("--keep-aspect", action="store_true", help="of each category's images, at the area of --size")
    add("--scales", type=float, nargs="+", default=[1.0], help="of the size, maps averaged (1)")
    add(
        "--image-score",
        choices=get_args(ImageScore),
        help="highest pixel, mean of the top 0.2 %%, highest mean of 16 x 16 px, or the method's own (max; pooled for a"
        " OneNIP, own for a MetaCAN)",
    )
    add("--limit", type=int, help="at most this many queries a category")
    add("--clip-weights", help="file of ViT-B-16-plus-240, for a MetaCAN or variant best+clip")
    add("--batch-size", type=int, default=16, help="queries at a time (16)")
    add("--give-memory-back", action="store_true", help="freed memory to the system at once: slower on a CPU")
    add("--device", help="cpu or cuda (cuda where there is one)")
    add("--sheet-rows", type=int, default=4, help="rows of a picture sheet (4)")
    add("--out", required=True, type=Path, help="metrics.json; the rest goes into a folder of its name")
    return parser.parse_args()


def _check_out(args: argparse.Namespace) -> None:
    if not args.out.suffix:
        raise BadRequest(f"--out {args.out}: wanted a file such as {args.out}.json; the folder {args.out} is made too")
    read = [args.checkpoint, *map(Path, args.prompts or ()), *map(Path, filter(None, [args.clip_weights]))]
    if args.out.resolve() in [path.resolve() for path in read]:
        raise BadRequest(f"--out {args.out}: would be written over a file that is read; pass another name")


def _settings(args: argparse.Namespace, image_score: ImageScore) -> Evaluate:
    values = {
        "layout": args.layout,
        "root": args.root,
        "lists": args.lists,
        "categories": args.category,
        "limit": args.limit,
        "size_px": args.size[0] if args.size and len(args.size) == 1 else args.size,
        "keep_aspect": args.keep_aspect,
        "scales": args.scales,
        "image_score": args.image_score or image_score,
        "protocol": args.protocol,
        "variants": args.variant,
        "shots": args.shots,
        "shots_mean": args.shots_mean,
        "seeds": args.seeds,
        "prompts": args.prompts,
        "clip_weights": args.clip_weights,
        "batch_size": args.batch_size,
        "keep_memory": not args.give_memory_back,
        "sheet_rows": args.sheet_rows,
    }
    try:
        return Evaluate.model_validate(values)
    except ValidationError as error:
        said = "; ".join(
            (f"--{one['loc'][0]} {one['input']}: " if one["loc"] else "") + one["msg"] for one in error.errors()
        )
        raise BadRequest(said.replace("size_px", "size").replace("_", "-")) from None


if __name__ == "__main__":
    run(main)
