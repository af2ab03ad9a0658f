"""Is a shard what it says it is? Its bytes, the laws of its pairs, and a sample of pairs made again to the byte."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import Failure
from pipeline.shards.format import (
    RECORDS,
    Manifest,
    ShardEntry,
    combined_digest,
    content_digests,
    shard_names,
)
from pipeline.shards.opened import Shard, open_shard
from pipeline.shards.provenance import code_digest, fingerprint
from pipeline.shards.store import Where, child, exists
from pipeline.spread import spread

OF_THE_SHARD = ("format", "format_version", "fingerprint", "made_on", RECORDS, "digests", "entry")  # not made from
CANNOT_READ = (OSError, RuntimeError, ValueError)  # what the codecs raise on bytes that are wrong

Pixels = Mapping[str, np.ndarray[Any, Any]]  # of a pair, by array: "pair", "mask" and others
Flags = npt.NDArray[np.bool_]  # bool (H, W)
Remake = Callable[[Shard, int], Pixels]


class NotCheckedError(Exception):
    """Pairs cannot be made again here; the message says why."""


def verify_shard(
    where: Where, name: str, wanted: ShardEntry | None, sample: int, remaker: Callable[[dict[str, Any]], Remake]
) -> tuple[list[str], str]:
    """What is wrong with a shard, and why no pair of it was made again ("" when some were).

    Args:
        where: the place of the shards.
        name: of the shard there.
        wanted: what the manifest says of it, if there is one.
        sample: pairs to make again.
        remaker: gives what makes pairs again, from a shard's attributes; raises NotCheckedError where nothing can.
    """
    try:
        shard = open_shard(where, name)
        faults = [*_faults_of_bytes(where, name, shard, wanted), *_faults_of_pairs(shard)]
    except (Failure, KeyError, TypeError) as error:
        return [str(error) if isinstance(error, Failure) else f"its attributes are broken ({error!r})"], ""
    try:
        places = spread(shard.entry.pairs, sample)
        return faults + faults_made_again(shard, places, remaker(shard.attributes)), ""
    except NotCheckedError as reason:
        return faults, str(reason)


def faults_made_again(shard: Shard, places: Iterable[int], remake: Remake) -> list[str]:
    """Which of the pairs at `places` are not the same to the byte when made again.

    Raises:
        NotCheckedError: an image they were made from is gone or changed.
    """
    faults = []
    for place in places:
        try:
            again = remake(shard, place)
        except Failure as error:
            raise NotCheckedError(str(error)) from None
        except (ValueError, KeyError) as error:
            faults.append(f"pair {place} cannot be made from its record ({error!r})")
            continue
        try:
            stored = {"pair": shard.pair, "mask": shard.mask, **shard.extra}
            same = all(np.array_equal(pixels, stored[name][place]) for name, pixels in again.items())
        except CANNOT_READ:
            continue  # already among the faults of its bytes
        if not same:
            faults.append(f"pair {place} is another when made again{_other_code(shard)}")
    return faults


def faults_of_folder(root: Path, manifest: Manifest) -> dict[str, str]:
    """Shards that the manifest of a folder names and that are not there; in a local folder, those it does not name."""
    lost = {
        entry.name: "is not there"
        for entry in manifest.shards
        if not exists(child(manifest.where(root), f"{manifest.key(entry)}.zarr"))
    }
    listed = {entry.name for entry in manifest.shards}
    more = [] if manifest.store else [name for name in shard_names(root) if name not in listed]
    return lost | dict.fromkeys(more, "is not in the manifest")


def _faults_of_bytes(where: Where, name: str, shard: Shard, wanted: ShardEntry | None) -> Iterator[str]:
    written, found = shard.attributes["digests"], content_digests(child(where, f"{name}.zarr"))
    for content in sorted(written.keys() | found.keys()):
        if content not in found:
            yield f"{content} is gone"
        elif content not in written:
            yield f"{content} does not belong to it"
        elif found[content] != written[content]:
            yield f"the bytes of {content} are not those that were written"
    entry = shard.entry
    if combined_digest(written) != entry.sha256:
        yield "its digests are not those that were written"
    made_from = {key: value for key, value in shard.attributes.items() if key not in OF_THE_SHARD}
    if not fingerprint(made_from) == entry.fingerprint == shard.attributes["fingerprint"]:
        yield "its attributes are not those that were written"
    if wanted is not None and replace(entry, name=wanted.name) != wanted:
        yield "the manifest says otherwise of it"


def _faults_of_pairs(shard: Shard) -> Iterator[str]:
    visible = shard.attributes["parameters"].get("visible")  # what data/inpainted holds is judged later
    for place in range(shard.entry.pairs):
        try:
            pair, mask = np.asarray(shard.pair[place]), np.asarray(shard.mask[place]) > 0
            difference = np.abs(pair[0].astype(np.int16) - pair[1]).max(axis=2)
        except CANNOT_READ as error:
            yield f"pair {place} cannot be read ({error})"
            continue
        if difference[~mask].any():
            yield f"pair {place} differs outside its mask"
        if visible is not None and not _is_visible(difference >= visible["min_contrast"], mask, visible["min_share"]):
            yield f"pair {place} has a region of its mask without a visible change"
    try:
        counts = np.bincount(np.asarray(shard.kind[:]), minlength=len(shard.kinds)).tolist()
    except CANNOT_READ as error:
        yield f"its kinds cannot be read ({error})"
        return
    if counts != list(shard.entry.kinds.values()):
        yield "its kinds are not those that were counted"


def _is_visible(seen: Flags, mask: Flags, min_share: float) -> bool:
    """Whether every 8-connected region of a mask holds a pixel that is seen, and of such pixels its share."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    area = np.bincount(labels.ravel(), minlength=count)[1:]
    visible = np.bincount(labels[seen & mask], minlength=count)[1:]
    return bool(((visible >= min_share * area) & (visible > 0)).all())


def _other_code(shard: Shard) -> str:
    made_by = shard.attributes["code"]["sha256"]
    same = made_by == code_digest(shard.attributes["code"]["module"])
    return "" if same else f" (it was made by other code, {made_by[:12]})"
