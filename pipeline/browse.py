"""What people ask of a folder of pairs: where a shard is, what its pairs are, whether one is what its record says."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest, Failure
from pipeline.changes import remaker_for
from pipeline.shards import FACTS, RECORDS, Manifest, NotCheckedError, Shard, Where, faults_made_again

BLOCK = 32  # masks read at a time


@dataclass(frozen=True)
class PairFacts:
    """What is known of a pair without its pixels."""

    place: int  # in its shard
    kind: str
    group: str  # category of the original, "" where there are none
    image_id: int
    donor_id: int  # -1 if none
    area: float  # share of the image that is masked
    in_vain: tuple[str, ...]  # why what was drawn before it was given up; of pairs of data/inpainted nothing is kept


def find_shard(root: Where, manifest: Manifest | None, name: str) -> tuple[Where, str]:
    """The place of a shard and its name there.

    Raises:
        BadRequest: the manifest names no such shard.
    """
    if manifest is None:
        return root, name
    for entry in manifest.shards:
        if entry.name == name:
            assert isinstance(root, Path)
            return manifest.where(root), manifest.key(entry)
    first, last = manifest.shards[0].name, manifest.shards[-1].name
    raise BadRequest(f"no {name} in {root} (shards there: {first} .. {last})")


def areas(shard: Shard) -> npt.NDArray[np.float64]:
    """The share of the image that is masked, of each pair; float64 (N,)."""
    count = shard.entry.pairs
    starts = range(0, max(count, 1), BLOCK)
    return np.concatenate([np.asarray(shard.mask[start : start + BLOCK]).mean(axis=(1, 2)) for start in starts])


def facts_of(shard: Shard) -> list[PairFacts]:
    """What is known of each pair; reads the masks of a shard but not its images."""
    columns = (shard.kind, shard.group, shard.image_id, shard.donor_id)
    kinds, groups, images, donors = (np.asarray(column[:]).tolist() for column in columns)
    in_vain = [tuple(record.get(FACTS, {}).get("in_vain", ())) for record in shard.attributes[RECORDS]]
    return [
        PairFacts(place, shard.kinds[kind], shard.groups[group], image, donor, float(area), why)
        for place, (kind, group, image, donor, area, why) in enumerate(
            zip(kinds, groups, images, donors, areas(shard), in_vain, strict=True)
        )
    ]


def made_again(root: Path, shard: Shard, place: int) -> str:
    """One line: whether a pair is the same to the byte when made again from what lies beside the folder `root`."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            faults = faults_made_again(shard, [place], remaker_for(shard.attributes, root, Path(scratch)))
        except (NotCheckedError, Failure) as reason:
            return f"not made again: {reason}"
    return faults[0] if faults else f"pair {place} is the same to the byte when made again from its record"
