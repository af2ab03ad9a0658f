"""The records of a data set as one table: a row per pair, to be asked before any shard is opened.

data/pairs/records.parquet

pd.read_parquet("data/pairs/records.parquet", filters=[("kind", "==", "paste"), ("area_share", ">", 0.05)])
duckdb: select id from 'data/pairs/records.parquet' where list_contains(categories, 'dog') and area_share > 0.05
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from configs.errors import BadRequest
from pipeline.shards import FACTS, RECORDS, Manifest, ShardEntry, child, read_attributes
from pipeline.source import SPLITS

RECORDS_TABLE = "records.parquet"
TOGETHER = 64  # shards read at a time, for those of a store each take a moment; their rows are a row group
SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # "391895-3": image id of the original, number of the pair among the image's
        ("shard", pa.string()),
        ("place", pa.int32()),  # in the shard
        ("split", pa.string()),
        ("kind", pa.string()),
        ("group", pa.string()),  # category of the original, "" where the source has none
        ("image_id", pa.int64()),
        ("donor_ids", pa.list_(pa.int64())),  # images that the change is made with
        ("prompt_is", pa.string()),  # original, aligned or elsewhere
        ("area_share", pa.float64()),  # of the image that is masked
        ("category_ids", pa.list_(pa.int64())),  # of the objects removed or pasted
        ("categories", pa.list_(pa.string())),  # their names
        ("in_vain", pa.list_(pa.string())),  # why what was drawn before was given up
        ("file", pa.string()),  # of the photograph, in its source
        ("licence", pa.int64()),  # null where none is stated
        ("licence_name", pa.string()),
        ("url", pa.string()),
        ("donor_licences", pa.list_(pa.int64())),
        ("donor_urls", pa.list_(pa.string())),
        ("sha256", pa.string()),  # of the pixels of all pictures
        ("record", pa.string()),  # JSON, from which the pair is made again
    ]
)


def write_records(root: Path, manifest: Manifest) -> Path:
    """Write the table beside the manifest of a folder of pairs, whole or not at all; memory holds TOGETHER shards'."""
    aside = root / f"{RECORDS_TABLE}.partial"
    with parquet.ParquetWriter(aside, SCHEMA, compression="zstd") as writer, ThreadPoolExecutor() as pool:
        for first in range(0, len(manifest.shards), TOGETHER):
            entries = manifest.shards[first : first + TOGETHER]
            paths = [child(manifest.where(root), f"{manifest.key(entry)}.zarr") for entry in entries]
            said = pool.map(read_attributes, paths)
            rows = [row for entry, own in zip(entries, said, strict=True) for row in rows_of(entry, own)]
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return aside.rename(root / RECORDS_TABLE)


def read_records(root: Path, columns: Sequence[str], splits: Sequence[str] = SPLITS) -> dict[str, list[Any]]:
    """Columns of the table of a folder of pairs, of some splits, in order.

    Raises:
        BadRequest: there is no table.
    """
    path = root / RECORDS_TABLE
    if not path.is_file():
        raise BadRequest(f"no {path}: the pairs are not finished; run `dvc repro synth`")
    found: dict[str, list[Any]] = parquet.read_table(
        path, columns=list(columns), filters=[("split", "in", list(splits))]
    ).to_pydict()
    return found


def rows_of(entry: ShardEntry, attributes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of the pairs of one shard, from its attributes."""
    names = attributes["names"]
    for place, record in enumerate(attributes[RECORDS]):
        facts = record[FACTS]
        own, *donors = facts["rights"]
        yield {
            **{name: facts[name] for name in ("id", "group", "prompt_is", "area_share", "sha256")},
            "shard": entry.name,
            "place": place,
            "split": entry.split,
            "kind": record["change"]["kind"],
            "image_id": record["image_id"],
            "donor_ids": record["donor_ids"],
            "category_ids": facts["categories"],
            "categories": [names["categories"].get(str(number), str(number)) for number in facts["categories"]],
            "in_vain": list(facts["in_vain"]),
            "file": own["file"],
            "licence": own["licence"],
            "licence_name": names["licences"].get(str(own["licence"]), {}).get("name"),
            "url": own["url"],
            "donor_licences": [donor["licence"] for donor in donors],
            "donor_urls": [donor["url"] for donor in donors],
            "record": json.dumps(record, sort_keys=True),
        }
