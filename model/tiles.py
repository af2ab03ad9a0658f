"""Cut the strips of AITEX into tiles: a benchmark in MVTec layout, as MetaCAN's authors made theirs.

    python -m model.tiles --root AITEX --out ../aitex_tiles

AITEX has the folders Defect_images, NODefect_images (with folders of strips) and Mask_images (<strip>_mask.png, or
_mask1, _mask2). A tile of 256 x 256 px is anomalous where the strip's mask has any pixel in it; the other tiles of a
strip with a defect are left out, as are strips without a mask. Of the normal tiles a quarter is for the test.
Exit status: 0 done, 1 the work failed, 2 the request was wrong.
"""

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from configs.errors import BadRequest, Failure, run
from model.images import read_image, read_mask
from model.layouts import quarter
from pipeline.arrays import Image, Mask
from pipeline.progress import track

SIDE_PX = 256
DEFECT, NORMAL, MASKS = "defect_images", "nodefect_images", "mask_images"  # in any case


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m model.tiles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder of AITEX's three folders")
    parser.add_argument("--out", type=Path, required=True, help="a new folder; the category aitex is made in it")
    args = parser.parse_args(argv)
    out = args.out / "aitex"
    if out.exists():
        raise BadRequest(f"--out {args.out}: {out} is there already; pass another folder, or remove it")
    defect, normal, masks = (_folder(args.root, name) for name in (DEFECT, NORMAL, MASKS))
    made, out = out, args.out / "aitex.partial"  # of an interrupted run nothing stays that looks whole
    shutil.rmtree(out, ignore_errors=True)
    unmasked, anomalous = [], 0
    strips, whole = _strips(defect), _strips(normal)
    for folder, found in ((defect, strips), (normal, whole)):
        if not found:
            raise BadRequest(f"{folder}: no strip there; wanted PNGs")
    for strip in track(strips, "strips with a defect", len(strips)):
        mask = _mask_of(strip, masks)
        if mask is None:
            unmasked.append(strip.name)
            continue
        for name, tile, of_tile in tiles(read_image(strip), mask, strip.stem):
            if of_tile.any():
                anomalous += 1
                _write(out / "test" / "defect" / name, tile)
                _write(out / "ground_truth" / "defect" / name, np.where(of_tile, np.uint8(255), np.uint8(0)))
    cut: list[Path] = []
    for strip in track(whole, "strips without", len(whole)):
        image = read_image(strip)
        for name, tile, _ in tiles(image, np.zeros(image.shape[:2], np.bool_), f"{strip.parent.name}_{strip.stem}"):
            cut.append(out / "all" / name)
            _write(cut[-1], tile)
    if not anomalous:
        raise Failure(f"{defect}: no tile of its strips has a pixel of a mask in {masks}; wanted masks of these strips")
    parts = dict(zip(("train", "test"), quarter(cut), strict=True))
    for part, paths in parts.items():
        (out / part / "good").mkdir(parents=True)
        for path in paths:
            path.rename(out / part / "good" / path.name)
    (out / "all").rmdir()
    out.rename(made)
    if unmasked:
        print(f"left out for want of a mask: {', '.join(unmasked)}")
    print(
        f"{made}: {len(parts['train'])} normal tiles to learn from; test {len(parts['test'])} normal, {anomalous} not"
    )
    return 0


def tiles(strip: Image, mask: Mask, name: str) -> Iterator[tuple[str, Image, Mask]]:
    """Cut a strip (H, W, 3) and its mask (H, W) into squares of its height, from the left; a rest is left out."""
    for number in range(strip.shape[1] // SIDE_PX):
        columns = np.s_[:SIDE_PX, number * SIDE_PX : (number + 1) * SIDE_PX]
        yield f"{name}_{number:02}.png", strip[columns], mask[columns]


def _folder(root: Path, name: str) -> Path:
    found = [path for path in (root.iterdir() if root.is_dir() else ()) if path.name.lower() == name]
    if not found:
        raise BadRequest(f"{root}: no folder {name}, whatever the case of its letters; wanted AITEX's three folders")
    return found[0]


def _strips(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.png") if path.name[0] != ".")


def _mask_of(strip: Path, masks: Path) -> Mask | None:
    """The union of a strip's masks; None where it has none."""
    found = sorted(masks.glob(f"{strip.stem}_mask*.png"))
    if not found:
        return None
    read = [read_mask(path) for path in found]
    height, width = read_image(strip).shape[:2]
    for path, one in zip(found, read, strict=True):
        if one.shape != (height, width):
            raise Failure(f"{path}: {one.shape[1]} x {one.shape[0]} px, its strip {width} x {height}; wanted one size")
    union: Mask = np.any(read, axis=0)
    return union


def _write(path: Path, image: Image) -> None:
    """Write RGB uint8 (H, W, 3), or a mask of 0 and 255 (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = image if image.ndim == 2 else image[..., ::-1]
    path.write_bytes(cv2.imencode(".png", shown)[1].tobytes())


if __name__ == "__main__":
    run(main)
