"""mlcroissant takes the file as it is, and reads the records by it."""

import hashlib
import warnings

import pandas as pd
import pytest

from pipeline.publish import summarise, write_croissant
from pipeline.publish.card import hub_licence
from pipeline.source import SPLITS


def test_mlcroissant_validates_it_and_reads_the_records(given, tmp_path):
    data = (given.pairs / "records.parquet").read_bytes()
    (tmp_path / "records.parquet").write_bytes(data)
    files = {"records.parquet": hashlib.sha256(data).hexdigest()}
    said = summarise(given.pairs, SPLITS)
    (tmp_path / "croissant.json").write_text(write_croissant(said, "boxes", files, "records.parquet", "2026-11-28"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library that is here to be asked, not judged
        import mlcroissant

        dataset = mlcroissant.Dataset(jsonld=str(tmp_path / "croissant.json"))
        found = list(dataset.records("pairs"))
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    table = pd.read_parquet(tmp_path / "records.parquet")
    assert [one["pairs/id"].decode() for one in found] == table["id"].tolist()
    assert [one["pairs/area_share"] for one in found] == table["area_share"].tolist()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://creativecommons.org/licenses/by-nc-sa/2.0/", "cc-by-nc-sa-2.0"),
        ("http://creativecommons.org/licenses/by/2.0/", "cc-by-2.0"),
        ("http://creativecommons.org/licenses/by-sa/2.0/", None),  # which the hub does not list
        ("http://flickr.com/commons/usage/", None),
        ("", None),
    ],
)
def test_a_creative_commons_licence_gets_the_hub_s_name(url, name):
    assert hub_licence({"url": url}) == name
