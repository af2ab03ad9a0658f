"""Making pairs again from what lies beside their folder: what `inspect --verify` holds the stored ones against."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadRequest
from configs.inpaint import InpaintParams
from configs.section import load
from configs.visible import Visible
from pipeline.changes.change import from_record, make_pair
from pipeline.changes.inpaint import InpaintTask, build_inpainted_shard, plan_inpainted
from pipeline.changes.sources import Sources
from pipeline.shards import RECORDS, NotCheckedError, Part, Pixels, Remake, Shard, ShardJob, open_shard


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
            sources = Sources(index, inpainted)
            found = {"index": sources.index.digest, "inpainted": sources.digest}
            remake = _from_record(sources, Visible.model_validate(attributes["parameters"]["visible"]))
        else:
            task, found = _inpaint_task(attributes, index, scratch)
            remake = _from_seed(task)
    except BadRequest as error:
        raise NotCheckedError(str(error)) from None
    other = [name for name, digest in attributes["inputs"].items() if found.get(name) != digest]
    if other:
        raise NotCheckedError(f"the {' and the '.join(other)} beside {root} is not the one it was made from")
    return remake


def _from_record(sources: Sources, visible: Visible) -> Remake:
    def remake(shard: Shard, place: int) -> Pixels:
        original, changed, mask = make_pair(from_record(shard.attributes[RECORDS][place]), sources, visible)
        return np.stack([original, changed]), mask

    return remake


def _from_seed(task: InpaintTask) -> Remake:
    """A shard of one item, made by the stage's own function."""

    def remake(shard: Shard, place: int) -> Pixels:
        item = shard.attributes["items"][0] + place
        part = Part(shard.entry.split, item, item + 1)
        build_inpainted_shard(ShardJob("shard_0000", part, {"split": part.split}, "", None), task)
        made = open_shard(task.root, "shard_0000")
        if made.attributes[RECORDS] != [shard.attributes[RECORDS][place]]:
            return np.zeros(0), np.zeros(0)
        return np.asarray(made.pair[0]), np.asarray(made.mask[0])

    return remake


def _inpaint_task(attributes: dict[str, Any], index: Path, scratch: Path) -> tuple[InpaintTask, dict[str, Any]]:
    """The task that made a shard, with the folder of images that params.yaml names, and its inputs' digests now."""
    params, then = load(InpaintParams), attributes["parameters"]
    if not Path(params.data.images).is_dir():
        raise BadRequest(f"data.images = {params.data.images!r}: no such folder")
    as_then = {
        "seed": attributes["seed"],
        "size_px": then["size"],
        "visible": params.visible.model_validate(then["visible"]),
        "inpaint": params.inpaint.model_validate({**params.inpaint.model_dump(), **then["inpaint"]}),
    }
    task, jobs = plan_inpainted(params.model_copy(update=as_then), scratch, index)
    return replace(task, root=scratch), jobs[0].attributes["inputs"]
