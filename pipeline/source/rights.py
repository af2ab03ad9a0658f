"""Whose the photographs are, and of what their objects: what travels from the instances file into every pair's record.

    data/index/rights.feather   a row per image, in the order of images.feather

Names of licences and categories stand in summary.json. Nothing is painted by any of it: a table by itself, so that
other rights make no removal of objects again.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import feather

from configs.errors import BadRequest
from pipeline.source.coco import Licence
from pipeline.source.index import SUMMARY

RIGHTS = "rights.feather"
NONE_STATED = "none stated"  # in the place of a licence's id


@dataclass(frozen=True)
class Rights:
    """What the source says of one image, beside its pixels."""

    image_id: int
    file: str  # its name in the source
    licence: int | None  # id, None where nothing is stated
    url: str | None  # where it comes from
    categories: tuple[int | None, ...]  # of its usable instances, in id order; None where one has no category


class RightsTable:
    """The finished table, mapped into memory; rows as in `Index`.

    Raises:
        BadRequest: it is not made.
    """

    def __init__(self, root: Path) -> None:
        try:
            summary: dict[str, Any] = json.loads((root / SUMMARY).read_text())
            self._table = feather.read_table(root / RIGHTS, memory_map=True)
        except FileNotFoundError as error:
            raise BadRequest(f"no {error.filename or root}: the index is not made; run `dvc repro index`") from None
        said = summary["rights"]
        self.digest: str = said["digest"]
        self.names = {"licences": said["licences"], "categories": said["categories"]}  # by ids, kept in each shard
        self.licences = {int(number): Licence(**licence) for number, licence in said["licences"].items()}
        self.categories = {int(number): str(name) for number, name in said["categories"].items()}

    def of(self, row: int) -> Rights:
        """What is said of the image in a row."""
        values = self._table.slice(row, 1).to_pylist()[0]
        return Rights(**{**values, "categories": tuple(values["categories"])})
