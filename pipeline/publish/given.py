"""A pair as it is given away: its pictures as anyone opens them, and its row of the records."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import PIL.Image

from configs.errors import Failure
from pipeline.arrays import Image
from pipeline.records import rows_of
from pipeline.shards import PROMPT, THE_ORIGINAL, ShardEntry, Where, open_shard

BLOCK = 32  # pairs in memory at a time
PNG, WEBP = "png", "webp"
# The least effort: 0.8 ms for 128 x 128 px and 10 % more bytes than OpenCV's lossless WebP, which takes 19 ms.
QUICKLY: Any = {"method": 0, "quality": 50}
PNG_LEVEL = 1  # of zlib: a third of level 6's time, 3 % more bytes


@dataclass(frozen=True)
class GivenPair:
    """One pair."""

    row: dict[str, Any]  # as in records.parquet
    pictures: dict[str, Image]  # original, changed uint8 (H, W, 3) RGB; mask uint8 (H, W), 0 or 255; prompt if another

    @property
    def id(self) -> str:
        """The pair's id, the same in every version of the data set."""
        return str(self.row["id"])

    @property
    def record(self) -> bytes:
        """The row as JSON; the record that remakes the pair is text in it, as kinds of change have other fields."""
        return json.dumps(self.row, sort_keys=True).encode()


def read_pairs(where: Where, key: str, entry: ShardEntry) -> Iterator[GivenPair]:
    """The pairs of a shard, named `key` in the place `where`, in their order; memory holds BLOCK of them.

    Raises:
        Failure: it is not there, or not the shard of the entry.
    """
    shard = open_shard(where, key)
    if shard.entry.sha256 != entry.sha256:
        raise Failure(f"{where}/{key}.zarr: not the shard that the manifest names; run `dvc checkout` or `dvc repro`")
    rows = rows_of(entry, shard.attributes)
    has_prompt = np.asarray(shard.prompt_is[:]) != THE_ORIGINAL
    for first in range(0, entry.pairs, BLOCK):
        block = slice(first, min(first + BLOCK, entry.pairs))
        pairs, masks = np.asarray(shard.pair[block]), np.asarray(shard.mask[block])
        prompts = np.asarray(shard.extra[PROMPT][block]) if has_prompt[block].any() else None
        for place, (original, changed), mask in zip(range(block.start, block.stop), pairs, masks, strict=True):
            pictures = {"original": original, "changed": changed, "mask": mask * np.uint8(255)}
            if prompts is not None and has_prompt[place]:
                pictures[PROMPT] = prompts[place - first]
            yield GivenPair(next(rows), pictures)


def encode(picture: Image, form: str) -> bytes:
    """A picture as a PNG or a lossless WebP file; masks become one-channel PNG files in either case.

    Args:
        picture: uint8 (H, W, 3) RGB, or (H, W).
        form: PNG or WEBP.
    """
    file = io.BytesIO()
    if form == WEBP and picture.ndim == 3:  # it has no grey, and a mask's PNG is a few hundred bytes
        PIL.Image.fromarray(picture).save(file, "WEBP", lossless=True, **QUICKLY)
        return file.getvalue()
    stored = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, data = cv2.imencode(".png", stored, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    assert done, "OpenCV wrote no PNG"
    return data.tobytes()


def suffix(name: str, form: str) -> str:
    """The suffix of the file of a picture, without the point."""
    return PNG if name == "mask" else form
