"""A source with something bad in it: counted with its reason or taken rightly, and the pairs of the rest are made."""

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.source.coco import read_annotations
from pipeline.source.index import SUMMARY, Index
from pipeline.source.index_build import build_index, choose_images, write_index
from tests.pipeline import tiny
from tests.pipeline.conftest import Workspace

BAD = 3  # the image, and the annotation, that is made bad
SECRET = b"root:x:0:0"


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def save(path: Path, mode: str, size: tuple[int, int], **options) -> None:
    Image.fromarray(np.random.default_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)).convert(mode).save(
        path, "JPEG", **options
    )


def quarter_turn() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


# What is done to the image's file, size (63, 87), or to its entry -> why it is skipped; None when it is taken.
IMAGES = {
    "truncated": (lambda path, entry: path.write_bytes(path.read_bytes()[:-400]), "cut short"),
    "empty": (lambda path, entry: path.write_bytes(b""), "empty file"),
    "text": (lambda path, entry: path.write_bytes(b"<html>404</html>"), "not a readable image"),
    "too large to be true": (
        lambda path, entry: path.write_bytes(png_that_claims(60000, 60000)),
        "more than 100000000 pixels",
    ),
    "a folder": (lambda path, entry: (path.unlink(), path.mkdir()), "Is a directory"),
    "missing": (lambda path, entry: path.unlink(), "No such file"),
    "of another size": (lambda path, entry: entry.update(height=64), "is 63x87, its annotation says 64x87"),
    "without pixels": (lambda path, entry: entry.update(height=0), "is 63x87, its annotation says 0x87"),
    "escaping": (lambda path, entry: entry.update(file_name="../secret"), "leads out of the image folder"),
    "escaping inside": (lambda path, entry: entry.update(file_name="x/../../secret"), "leads out of the image folder"),
    "absolute": (lambda path, entry: entry.update(file_name="/etc/passwd"), "leads out of the image folder"),
    "not UTF-8": (lambda path, entry: entry.update(file_name="caf\udce9.jpg"), "not printable UTF-8"),
    "half a character": (lambda path, entry: entry.update(file_name="\ud800.jpg"), "not printable UTF-8"),
    "with a zero byte": (lambda path, entry: entry.update(file_name="a\0b.jpg"), "not printable UTF-8"),
    "without a name": (lambda path, entry: entry.update(file_name=""), "Is a directory"),
    "endless name": (lambda path, entry: entry.update(file_name="x" * 999), "File name too long"),
    "linked to no image": (
        lambda path, entry: (path.unlink(), path.symlink_to(path.parents[1] / "secret")),
        "not a readable image",
    ),
    "linked to an image": (
        lambda path, entry: (path.rename(path.parents[1] / "linked"), path.symlink_to(path.parents[1] / "linked")),
        None,
    ),
    "PNG": (
        lambda path, entry: (
            cv2.imwrite(str(path) + ".png", cv2.imread(str(path))) and path.with_suffix(".jpg.png").rename(path)
        ),
        None,
    ),
    "grayscale": (lambda path, entry: save(path, "L", (63, 87)), None),
    "CMYK": (lambda path, entry: save(path, "CMYK", (63, 87)), None),
    "turned by EXIF": (lambda path, entry: save(path, "RGB", (63, 87), exif=quarter_turn()), None),
    "one pixel": (lambda path, entry: (save(path, "RGB", (1, 1)), entry.update(height=1, width=1)), None),
    "one row": (lambda path, entry: (save(path, "RGB", (1, 900)), entry.update(height=1, width=900)), None),
}

# The annotation's segmentation, its image being 63x87 -> why it is refused; None when it is taken.
OUTSIDE, HALF_OUTSIDE = [500, 500, 520, 500, 520, 520, 500, 520], [70, 40, 120, 40, 120, 90, 70, 90]
SEGMENTATIONS = {
    "none": (None, "no segmentation"),
    "empty": ([], "no segmentation"),
    "empty polygon": ([[]], "degenerate polygon"),
    "two corners": ([[1, 1, 9, 9]], "degenerate polygon"),
    "odd numbers": ([[1, 1, 9, 9, 1, 9, 3]], "degenerate polygon"),
    "one point": ([[5, 5, 5, 5, 5, 5]], "empty mask"),
    "outside": ([OUTSIDE], "empty mask"),
    "infinite": ([[1, 1, float("inf"), 1, 9, 9]], "polygon of other things than numbers"),
    "partly outside": ([HALF_OUTSIDE], None),
    "crowd": ({"size": [63, 87], "counts": [100, 900, 63 * 87 - 1000]}, None),
    "crowd of another size": ({"size": [87, 63], "counts": [100, 900, 63 * 87 - 1000]}, "run lengths of another size"),
    "crowd cut short": ({"size": [63, 87], "counts": [100, 900]}, "run lengths do not fill the image"),
}


def index(root: Path, change) -> tuple[Workspace, dict]:
    """Index a tiny source after a change to its content; also the summary."""
    tiny.draw_source(root / "source")
    (root / "source" / "secret").write_bytes(SECRET)
    content = json.loads((root / "source" / "instances.json").read_text())
    change(root / "source" / "images" / f"{BAD:012d}.jpg", content)
    (root / "source" / "instances.json").write_text(json.dumps(content))
    params = tiny.params(
        data__images=str(root / "source" / "images"),
        index__max_unreadable_share=0.1,
        inpaint__variants_per_image=1,
        synth__pairs_per_image=2,
        synth__local_prob=0.5,
    )
    annotations = read_annotations(root / "source" / "instances.json")
    places = choose_images(annotations.groups, 99, 0.25, 0)
    summary = write_index(root / "index", build_index(annotations, root / "source" / "images", places, 0.1))
    return Workspace(root, params), summary


def make_pairs(made: Workspace) -> None:
    """Make the pairs of every image."""
    made.make_inpainted()
    assert sum(made.make_pairs(made.pairs).kinds.values()) > 2 * 11
    assert {path.name for path in made.root.iterdir()} == {
        "source",
        "index",
        "inpainted",
        "pairs",
        "shelf",
        "pairs-shelf",
    }


@pytest.mark.parametrize("name", IMAGES)
def test_a_bad_image_is_skipped_with_its_reason_or_taken(tmp_path, name):
    damage, reason = IMAGES[name]
    made, summary = index(tmp_path, lambda path, content: damage(path, content["images"][BAD - 1]))

    skipped = summary["skipped_images"]
    assert [image["image_id"] for image in skipped] == ([] if reason is None else [BAD])
    assert reason is None or reason in skipped[0]["reason"]
    assert (BAD in Index(made.index).image_ids) == (reason is None)
    assert sum(summary["images"].values()) == 12 - len(skipped)
    assert json.loads((made.index / SUMMARY).read_text()) == summary
    if reason is None:
        make_pairs(made)


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_a_bad_instance_is_refused_with_its_reason_or_taken(tmp_path, name):
    segmentation, reason = SEGMENTATIONS[name]

    def change(_, content):
        bad = next(found for found in content["annotations"] if found["image_id"] == BAD)
        bad.update(segmentation=segmentation, iscrowd=int(isinstance(segmentation, dict)))

    made, summary = index(tmp_path, change)

    assert summary["refused_instances"] == ({} if reason is None else {reason: 1})
    assert summary["skipped_images"] == []
    if reason is None:
        make_pairs(made)
