"""Croissant: what machines read of a data set (https://docs.mlcommons.org/croissant/docs/croissant-spec.html)."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from pipeline.publish.card import PAPER
from pipeline.publish.summary import Summary
from pipeline.records import SCHEMA

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
TABLE = "records"
TYPES = {"string": "sc:Text", "double": "sc:Float", "int32": "sc:Integer", "int64": "sc:Integer"}
ENDINGS = {
    "json": "application/json",
    "parquet": "application/x-parquet",
    "tar": "application/x-tar",
    "png": "image/png",
    "": "text/plain",
}


def write_croissant(said: Summary, name: str, files: Mapping[str, str], table: str, published: str | None) -> str:
    """The text of croissant.json.

    Args:
        said: what the data set holds.
        name: of the source of its photographs.
        files: path from the file -> hexadecimal sha256, of what is listed one by one.
        table: which of them is records.parquet.
        published: the day, as 2026-11-28; None before anyone did.
    """
    known = (said.licence_names.get(number, {"name": number, "url": ""}) for number in said.licences)
    licences = [licence["url"] or f"{licence['name']}, see README.md" for licence in known]
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"Change pairs of {name}",
        "description": f"{said.pairs} pairs of a photograph and the same with a synthetic change that a mask outlines.",
        "version": "1.0.0",
        **({} if published is None else {"datePublished": published}),
        "license": licences,
        "citeAs": PAPER,
        "url": "README.md",
        "isLiveDataset": False,
        "rai:dataCollection": f"Made by code from photographs of {name}; digest of all shards {said.digest}.",
        "distribution": [_file(path, digest, table) for path, digest in files.items()],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "pairs",
                "name": "pairs",
                "description": "A row a pair.",
                "key": {"@id": "pairs/id"},
                "field": list(_fields()),
            }
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _file(path: str, digest: str, table: str) -> dict[str, str]:
    ending = path.rpartition("/")[2].rpartition(".")[2] if "." in path.rpartition("/")[2] else ""
    return {
        "@type": "cr:FileObject",
        "@id": TABLE if path == table else path,
        "name": path,
        "contentUrl": path,
        "encodingFormat": ENDINGS.get(ending, "application/octet-stream"),
        "sha256": digest,
    }


def _fields() -> Iterable[dict[str, Any]]:
    for column in SCHEMA:
        repeated = pa.types.is_list(column.type)
        of = column.type.value_type if repeated else column.type
        yield {
            "@type": "cr:Field",
            "@id": f"pairs/{column.name}",
            "name": column.name,
            "dataType": TYPES[str(of)],
            **({"repeated": True} if repeated else {}),
            "source": {"fileObject": {"@id": TABLE}, "extract": {"column": column.name}},
        }
