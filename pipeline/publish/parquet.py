"""Parquet as Hugging Face's datasets opens it: the columns of the records, and each picture as its file's bytes."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from pipeline.publish.given import GivenPair, encode, suffix
from pipeline.records import SCHEMA

PICTURES = ("original", "changed", "mask", "prompt")
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROWS = 64  # of a row group: what a reader holds in memory, and the unit of random access


def write_parquet(path: Path, pairs: Iterable[GivenPair], form: str) -> None:
    """Write pairs as they come."""
    schema = pa.schema([*SCHEMA, *((name, PICTURE) for name in PICTURES)]).with_metadata(
        {"huggingface": json.dumps({"info": {"features": _features()}})}
    )
    rows = (_row(pair, form) for pair in pairs)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(rows, ROWS)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def _row(pair: GivenPair, form: str) -> dict[str, Any]:
    pictures = {
        name: {"bytes": encode(picture, form), "path": f"{pair.id}.{name}.{suffix(name, form)}"}
        for name, picture in pair.pictures.items()
    }
    return {**pair.row, **dict.fromkeys(PICTURES), **pictures}


def _features() -> dict[str, Any]:
    """What datasets reads beside the schema: which columns are pictures."""
    return dict(_feature_of(field) for field in SCHEMA) | {name: {"_type": "Image"} for name in PICTURES}


def _feature_of(field: pa.Field) -> tuple[str, dict[str, Any]]:
    if pa.types.is_list(field.type):
        return field.name, {"_type": "Sequence", "feature": _value(field.type.value_type)}
    return field.name, _value(field.type)


def _value(of: pa.DataType) -> dict[str, Any]:
    return {"_type": "Value", "dtype": {"double": "float64"}.get(str(of), str(of))}
