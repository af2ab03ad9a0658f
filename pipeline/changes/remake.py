"""Making pairs again from what lies beside their folder: what `inspect --verify` holds the stored ones against."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest
from configs.inpaint import InpaintParams
from configs.section import load
from configs.synth import SynthParams
from configs.visible import Visible
from pipeline.changes.change import from_record, make_pair
from pipeline.changes.fillers import device_of_lama
from pipeline.changes.inpaint import InpaintTask, build_inpainted_shard, inpaint_task
from pipeline.changes.sources import Sources
from pipeline.shards import (
    PROMPT,
    RECORDS,
    NotCheckedError,
    Part,
    Pixels,
    Remake,
    Shard,
    ShardJob,
    made_by,
    open_shard,
    shelf_name,
)
from pipeline.source import ImageRow, Index, content_hash, read_indexed_image, resize
from pipeline.spread import spread

ASKED = 8  # photographs, whether a folder is the one that was indexed: others may bear the same names
ONE_LEVEL = 1  # by which a network's pixels may follow the make-up of its batches
FINGERPRINT = "0" * 64  # of what is made only to be looked at


def remaker_for(attributes: dict[str, Any], root: Path, scratch: Path) -> Remake:
    """What makes pairs of a folder's shards again, from what lies beside the folder (data/index, data/inpainted).

    Args:
        attributes: of one of its shards.
        root: the folder of the manifest, such as data/pairs.
        scratch: a folder to write to.

    Raises:
        NotCheckedError: what the pairs were made from is not here.
    """
    index, inpainted = root.parent / "index", root.parent / "inpainted"
    try:
        if attributes["stage"] == "synth":
            textures = _texture_folder() if "textures" in attributes.get("inputs", {}) else None
            sources = _sources(index, inpainted, textures)
            other = [name for name, digest in attributes["inputs"].items() if sources.digests.get(name) != digest]
            if other:
                raise NotCheckedError(f"the {' and the '.join(other)} beside {root} is not the one it was made from")
            visible = Visible.model_validate(attributes["parameters"]["visible"])
            return _from_record(sources, visible, _photographs(sources.index))
        return _from_seed(_inpaint_task(attributes, index, scratch), Index(index), attributes)
    except BadRequest as error:
        raise NotCheckedError(str(error)) from None


@lru_cache(maxsize=1)
def _sources(index: Path, inpainted: Path, textures: Path | None) -> Sources:
    return Sources(index, inpainted, textures)


def _texture_folder() -> Path:
    """The folder of textures that params.yaml names. Raises BadRequest where it names none."""
    named = load(SynthParams).synth.local.texture_folder
    if named is None:
        raise BadRequest(
            "synth.local.texture_folder is null in params.yaml; name the folder that the pairs are made with"
        )
    return Path(named)


def _photographs(index: Index) -> Path | None:
    """The folder of photographs that params.yaml names, if it is at hand and holds any of some that were indexed."""
    try:
        folder = Path(load(InpaintParams).data.images)
    except BadRequest:
        return None
    some = (index.image(row) for row in spread(len(index), ASKED))
    return folder if any(_is_indexed(folder, row) for row in some) else None


def _is_indexed(folder: Path, row: ImageRow) -> bool:
    path = folder / row.file
    return path.is_file() and content_hash(path.read_bytes()) == row.sha256


def _from_record(sources: Sources, visible: Visible, photographs: Path | None) -> Remake:
    """The pair of a record, its original from the photograph itself where that is at hand."""

    def remake(shard: Shard, place: int) -> Pixels:
        made = make_pair(from_record(shard.attributes[RECORDS][place]), sources, visible)
        original, variation = made.original, made.record.variation
        shows_it = made.record.ground is None and (variation is None or variation.varied == "prompt")
        if photographs is not None and shows_it:
            row = sources.index.image(sources.row(int(np.asarray(shard.image_id[place]))))
            original = resize(read_indexed_image(photographs, row), sources.size)
        prompt = np.zeros_like(original) if made.prompt is None else made.prompt
        return {"pair": np.stack([original, made.changed]), "mask": made.mask, PROMPT: prompt}

    return remake


def _from_seed(task: InpaintTask, index: Index, attributes: dict[str, Any]) -> Remake:
    """A pair of a shard of one image, made by the stage's own function; LaMa's to a level."""
    device = device_of_lama() if task.weights else "cpu"
    if attributes["made_on"]["device"] != device:
        raise NotCheckedError(f"it was made on {attributes['made_on']['device']}, and LaMa's pixels follow the device")
    places = {int(image_id): row for row, image_id in enumerate(index.image_ids)}

    @lru_cache(maxsize=1)
    def made(image_id: int) -> tuple[list[dict[str, npt.NDArray[Any]]], list[Any]]:
        split = index.image(places[image_id]).split
        place = places[image_id] - index.rows(split).start
        as_now = made_by(attributes["code"]["module"], tuple(attributes["libraries"]))
        part = Part(split, place, place + 1)
        job = ShardJob("", part, {"split": split, **as_now}, FINGERPRINT, None)
        build_inpainted_shard(job, task)
        shard = open_shard(task.shelf, shelf_name(FINGERPRINT))
        arrays = {"pair": shard.pair, "mask": shard.mask, **shard.extra}
        pixels = [{name: np.asarray(array[n]) for name, array in arrays.items()} for n in range(shard.entry.pairs)]
        return pixels, shard.attributes[RECORDS]

    def remake(shard: Shard, place: int) -> Pixels:
        ids = np.asarray(shard.image_id[:]).tolist()
        pixels, records = made(ids[place])
        own = place - ids.index(ids[place])
        if records[own : own + 1] != [shard.attributes[RECORDS][place]]:
            return {"pair": np.zeros(0)}
        again = dict(pixels[own])
        if task.weights is not None:
            stored = np.asarray(shard.pair[place])
            near = (np.abs(again["pair"].astype(np.int16) - stored) <= ONE_LEVEL).all()
            again["pair"] = stored if near else again["pair"]
        return again

    return remake


def _inpaint_task(attributes: dict[str, Any], index: Path, scratch: Path) -> InpaintTask:
    """The task that made a shard, with the folder of images that params.yaml names."""
    params, then = load(InpaintParams), attributes["parameters"]
    if not Path(params.data.images).is_dir():
        raise BadRequest(f"data.images = {params.data.images!r}: no such folder")
    as_then = {
        "seed": attributes["seed"],
        "size_px": then["size"],
        "inpaint": params.inpaint.model_validate({**params.inpaint.model_dump(), **then["inpaint"]}),
    }
    task = inpaint_task(params.model_copy(update=as_then), scratch, index)
    found = task.weights.sha256 if task.weights else None
    if found != attributes["inputs"]["lama_sha256"]:
        raise BadRequest(f"inpaint.lama_weights = {params.inpaint.lama_weights!r}: other weights than it was made with")
    return task
