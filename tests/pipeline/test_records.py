"""The table of a data set: every pair once, as its shard says, and enough to make it again."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from pipeline.changes.change import from_record, make_pair
from pipeline.changes.facts import digest_of
from pipeline.records import RECORDS_TABLE, write_records
from pipeline.shards import PROMPTS, open_shard, read_manifest


@pytest.fixture(scope="module")
def table(workspace, tmp_path_factory):
    root = tmp_path_factory.mktemp("records") / "pairs"
    manifest = workspace.make_pairs(root, variation_prob=0.5)
    assert write_records(root, manifest) == root / RECORDS_TABLE
    assert not list(root.glob("*.partial"))
    return root, pd.read_parquet(root / RECORDS_TABLE)


def test_a_row_says_of_its_pair_what_the_shard_does(table):
    root, rows = table
    assert len(rows) == rows["id"].nunique() == sum(entry.pairs for entry in read_manifest(root).shards)
    for name, own in rows.groupby("shard"):
        shard = open_shard(root, name)
        assert own["place"].tolist() == list(range(shard.entry.pairs))
        assert own["kind"].tolist() == [shard.kinds[kind] for kind in np.asarray(shard.kind[:])]
        assert own["image_id"].tolist() == np.asarray(shard.image_id[:]).tolist()
        assert own["prompt_is"].tolist() == [PROMPTS[number] for number in np.asarray(shard.prompt_is[:])]
        assert set(own["split"]) == {shard.entry.split}
        np.testing.assert_allclose(own["area_share"], np.asarray(shard.mask[:]).mean(axis=(1, 2)), atol=1e-6)
        for place, digest in zip(own["place"], own["sha256"], strict=True):
            prompt = shard.prompt(place)
            pictures = [*shard.pair[place], shard.mask[place], *(() if prompt is None else (prompt,))]
            assert digest == hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest()


def test_a_row_s_record_makes_the_pair_again(workspace, table):
    _, rows = table
    sources = workspace.sources()
    for record, digest in zip(rows["record"], rows["sha256"], strict=True):
        made = make_pair(from_record(json.loads(record)), sources, workspace.params.visible)
        assert digest_of(made) == digest


def test_it_can_be_asked_for_all_pastes_of_a_category_above_an_area(table):
    root, rows = table
    found = pd.read_parquet(root / RECORDS_TABLE, filters=[("kind", "==", "paste"), ("area_share", ">", 0.05)])
    crates = found[[("crate" in names) for names in found["categories"]]]
    assert 0 < len(crates) < len(rows)
    assert all(2 in ids for ids in crates["category_ids"])


def test_the_same_pairs_give_the_same_bytes(workspace, table, tmp_path):
    root, _ = table
    again = tmp_path / "pairs"
    write_records(again, workspace.make_pairs(again, variation_prob=0.5))
    assert (again / RECORDS_TABLE).read_bytes() == (root / RECORDS_TABLE).read_bytes()
