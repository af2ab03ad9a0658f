"""A page in the browser of this machine: images judged by normal ones, and the pairs of a data set looked at.

    python -m model.app --checkpoint models/metauas/best.ckpt
    python -m model.app --checkpoint nut.onnx                     # exported with its prompts: drop only what to judge
    python -m model.app --pairs data/pairs                        # a data set alone; needs the extras data and synth

The page is served on 127.0.0.1 alone, loads nothing from elsewhere and tells nobody. Images that are dropped on it lie
in a temporary folder, which is deleted when the page ends. Left and right arrow go through what is judged.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from configs.errors import BadRequest, run

PAIRS = Path("data/pairs")
OF_PAIRS = {"zarr": "data", "pycocotools": "synth"}  # packages that looking at pairs takes, and their extras


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m model.app", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="of our training, published, or exported .onnx")
    parser.add_argument("--size", type=int, help="side in pixels (default: the checkpoint's own, or 256)")
    parser.add_argument("--clip-weights", type=Path, help="file of ViT-B-16-plus-240, for a MetaCAN")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument(
        "--pairs", type=Path, help=f"folder of shards for the second tab (default: {PAIRS}, if it is there)"
    )
    parser.add_argument("--port", type=_port, help="of the page (default: the first free one from 7860)")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    args = parser.parse_args(argv)
    wanted = {"gradio": "app", **(OF_PAIRS if args.pairs else {})}
    missing = [extra for package, extra in wanted.items() if find_spec(package) is None]
    if missing:
        raise BadRequest(f"not installed; run pip install 'metauas-pipeline[{','.join(missing)}]'")
    pairs = args.pairs or (PAIRS if (PAIRS / "manifest.json").is_file() and all(map(find_spec, OF_PAIRS)) else None)
    if args.checkpoint is None and pairs is None:
        raise BadRequest("nothing to show: pass --checkpoint, or --pairs with a folder of shards")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the folder is deleted
    with tempfile.TemporaryDirectory(prefix="metauas_page_") as scratch:
        os.environ["GRADIO_TEMP_DIR"] = scratch  # of what is dropped on the page; read when gradio is imported
        _serve(args, pairs, Path(scratch))
    return 0


def _serve(args: argparse.Namespace, pairs: Path | None, scratch: Path) -> None:
    from model.page import Network, build_page, launch, names_inside

    network = inside = None
    if args.checkpoint is not None:
        network = Network(args.checkpoint, args.size, args.clip_weights, args.device)
        inside = names_inside(network)  # a file that is none is told of before there is a page
    page = build_page(network, inside, pairs, scratch)
    try:
        launch(page, args.port, browser=not args.no_browser)
    except OSError as error:
        raise BadRequest(f"the page cannot be served: {error}; pass another --port") from None


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise ValueError
    return number


if __name__ == "__main__":
    run(main)
