"""The shard of features: what CLIP's frozen image tower makes of N images, kept because nothing learns in it.

    data/features/shard_0003.zarr/      zarr.json holds the attributes, as of a shard of pairs
        features  float16 (N, levels, patches, width)
        kind      uint8 (N,)            1 anomalous, 0 normal; the names are the keys of `entry.kinds`
        group     uint16 (N,)           task of the image, place among the names in `entry.groups`
        image_id  int64 (N,)            of the photograph: images of one id show the same one

An image is a chunk, not compressed: zstd would win a tenth. Manifest and entries are those of pairs, "pairs" being
images here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from configs.errors import Failure
from pipeline.shards.format import (
    FEATURES,
    FEATURES_VERSION,
    RECORDS,
    ShardEntry,
    combined_digest,
    digest_of_records,
)
from pipeline.shards.opened import open_group
from pipeline.shards.store import Where, child, what_to_do
from pipeline.shards.writer import digests_of_files, finish_group, write_column, write_whole

LABELS = ("normal", "anomalous")
COLUMNS = {"kind": np.uint8, "group": np.uint16, "image_id": np.int64}

Features = npt.NDArray[np.float16]


@dataclass(frozen=True)
class FeaturesShard:
    """A shard opened for reading. `features[7]` reads one image; the rest is in memory."""

    features: zarr.Array[Any]
    anomalous: npt.NDArray[np.bool_]
    group: npt.NDArray[np.uint16]
    image_id: npt.NDArray[np.int64]


@dataclass(frozen=True)
class NewImage:
    """What stands beside an image's features."""

    anomalous: bool
    group: str
    image_id: int
    name: str  # where it is from: a file, or a pair of a shard


def write_features(
    root: Path,
    name: str,
    groups: Sequence[str],
    images: Sequence[NewImage],
    features: Features,
    attributes: Mapping[str, Any],
    store: str | None = None,
) -> ShardEntry:
    """Write a shard aside, then rename it into place, or upload it whole.

    Args:
        root: folder of the shard, or of what is written aside.
        name: of the shard there.
        groups: names of all tasks, by their numbers.
        images: at least one.
        features: of the images, float16 (N, levels, patches, width).
        attributes: kept in the shard; they must hold `split` and `fingerprint`.
        store: URL that the shard goes to instead.
    """

    def write(path: Path) -> dict[str, Any]:
        group = zarr.create_group(path)
        group.create_array(
            "features",
            data=features,
            chunks=(1, *features.shape[1:]),
            shards=features.shape,
            compressors=None,
            dimension_names=("n", "level", "patch", "width"),
        )
        values = {
            "kind": [image.anomalous for image in images],
            "group": [groups.index(image.group) for image in images],
            "image_id": [image.image_id for image in images],
        }
        for column, dtype in COLUMNS.items():
            write_column(group, column, np.array(values[column], dtype))
        records = [{"image": image.name} for image in images]
        digests = {RECORDS: digest_of_records(records)}
        digests |= digests_of_files(path, digests)
        kinds, counts = Counter(image.anomalous for image in images), Counter(image.group for image in images)
        entry = {
            "split": attributes["split"],
            "pairs": len(images),
            "distinct": len(images),
            "per_image": list(Counter(image.image_id for image in images).values()),
            "kinds": {label: kinds[bool(number)] for number, label in enumerate(LABELS)},
            "groups": {name: counts[name] for name in groups},
            "outcomes": {},
            "fingerprint": attributes["fingerprint"],
            "sha256": combined_digest(digests),
        }
        said = {"format": FEATURES, "format_version": FEATURES_VERSION, **attributes}
        finish_group(group, path, {**said, RECORDS: records, "digests": digests, "entry": entry})
        return entry

    return write_whole(root, name, write, store)


def open_features(where: Where, name: str) -> FeaturesShard:
    """Open a shard of features, of a folder or of a URL, for reading.

    Raises:
        Failure: there is no shard of this format.
    """
    path = child(where, f"{name}.zarr")
    group, arrays = open_group(path)
    found, wanted = (group.attrs.get("format"), group.attrs.get("format_version")), (FEATURES, FEATURES_VERSION)
    if found != wanted:
        raise Failure(f"{path}: found {found}, wanted {wanted}; {what_to_do(path)}")
    kind, of_group, image_id = (np.asarray(arrays[column][:]) for column in COLUMNS)
    return FeaturesShard(arrays["features"], kind.astype(np.bool_), of_group, image_id)
