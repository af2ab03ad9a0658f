"""What a data set holds, counted from its manifest and its records: what card and Croissant file say of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.errors import BadRequest
from pipeline.records import read_records
from pipeline.shards import open_shard, read_manifest
from pipeline.source import NONE_STATED, SPLITS

COLUMNS = ["split", "kind", "image_id", "area_share", "licence", "donor_licences"]
NO_DERIVATIVES = "-nd"  # in the address of a Creative Commons licence: what is made of the work may not be given away


@dataclass(frozen=True)
class Summary:
    """What a data set holds."""

    digest: str  # of all shards
    pairs: int
    distinct: int
    photographs: int
    size: tuple[int, int]  # height and width of a picture in pixels
    splits: list[str]  # those that are there
    first_shard: str  # of these splits
    counts: dict[str, dict[str, int]]  # kind -> split -> pairs
    areas: dict[str, npt.NDArray[np.float64]]  # kind -> share of the image that is masked, of each pair
    licences: dict[str, int]  # id or NONE_STATED -> pairs in which a photograph of it is the original or a donor
    licence_names: dict[str, dict[str, str]]  # id -> name, url
    closed: int  # pairs with a photograph whose licence lets no derived work be given away
    attributes: dict[str, Any]  # of a shard: seed, parameters, code, libraries


def summarise(root: Path, splits: Sequence[str]) -> Summary:
    """Count what a folder of pairs holds in some splits.

    Raises:
        BadRequest: it is not finished, or holds no pair of these splits.
    """
    manifest = read_manifest(root)
    table = read_records(root, COLUMNS, splits)
    if not table["split"]:
        raise BadRequest(f"{root}: no pair of split {' or '.join(splits)}")
    kinds, areas = np.asarray(table["kind"]), np.asarray(table["area_share"], np.float64)
    counts: dict[str, dict[str, int]] = {kind: {} for kind in manifest.kinds}
    for (kind, split), count in sorted(Counter(zip(table["kind"], table["split"], strict=True)).items()):
        counts[kind][split] = count
    first = next(entry for entry in manifest.shards if entry.split in splits and entry.pairs)
    shard = open_shard(manifest.where(root), manifest.key(first))
    attributes = shard.attributes
    names = attributes["names"]["licences"]
    no_derivatives = {number for number, said in names.items() if NO_DERIVATIVES in said["url"]}
    licences, closed = Counter[str](), 0
    textures = "textures" in attributes["inputs"]  # of a folder, which are nobody's photographs
    for kind, own, donors in zip(table["kind"], table["licence"], table["donor_licences"], strict=True):
        of_pair = {NONE_STATED if number is None else str(number) for number in (own, *donors)}
        if textures and kind == "local":
            of_pair.add(NONE_STATED)
        licences.update(of_pair)
        closed += not of_pair.isdisjoint(no_derivatives)
    return Summary(
        digest=manifest.digest,
        pairs=len(kinds),
        distinct=sum(entry.distinct for entry in manifest.shards if entry.split in splits),
        photographs=len(set(table["image_id"])),
        size=(shard.mask.shape[1], shard.mask.shape[2]),
        splits=[split for split in SPLITS if split in table["split"]],
        first_shard=first.name,
        counts={kind: own for kind, own in counts.items() if own},
        areas={kind: areas[kinds == kind] for kind in manifest.kinds if (kinds == kind).any()},
        licences=dict(sorted(licences.items())),
        licence_names=names,
        closed=closed,
        attributes=attributes,
    )
