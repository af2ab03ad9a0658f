"""The command, by real Dask workers: what lies beside the data, going on, and what it refuses."""

import hashlib
import shutil

import pandas as pd
import pytest
import yaml

from configs.errors import BadRequest, Failure
from pipeline.export import main
from pipeline.records import write_records

PAIRS = 12 * 4  # of the tiny source


@pytest.fixture(scope="module")
def exported(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "out"
    assert main([str(out), "--to", "parquet", "--root", str(given.pairs), "--name", "boxes"]) == 0
    return out


def test_every_file_is_in_the_digests_and_right(exported):
    lines = [line.split("  ") for line in (exported / "SHA256SUMS").read_text().splitlines()]
    assert all(hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest for digest, name in lines)
    there = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    visible = {name for name in there if not name.startswith(".export/")}
    assert visible == {name for _, name in lines} | {"SHA256SUMS", "croissant.json"}


def test_the_records_beside_it_are_those_of_the_exported_splits(given, tmp_path, exported):
    table = pd.read_parquet(given.pairs / "records.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(exported / "records.parquet"), table)
    main([str(tmp_path / "out"), "--to", "png", "--root", str(given.pairs), "--name", "boxes", "--splits", "val"])
    val = table[table["split"] == "val"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out/records.parquet"), val)


def test_the_card_s_front_matter_is_what_a_hub_reads(exported):
    _, front, text = (exported / "README.md").read_text().split("---\n", 2)
    said = yaml.safe_load(front)
    assert said["license"] == "other"
    assert 'load_dataset("parquet", data_files={"train": "data/train-*.parquet"}' in text
    files = {one["split"]: one["path"] for one in said["configs"][0]["data_files"]}
    for pattern in files.values():
        assert list(exported.glob(pattern))
    assert files.keys() == {"train", "validation"}
    assert f"{PAIRS} pairs of pictures, 64 x 64 px" in text
    assert "[terms 1](<https://terms.test/1>)" in text


def test_going_on_makes_only_what_is_missing(given, exported, tmp_path, capsys):
    out = tmp_path / "out"
    shutil.copytree(exported, out)
    first, *others = sorted(out.glob("data/*.parquet"))
    stamps = {path: path.stat().st_mtime_ns for path in others}
    before = first.read_bytes()
    first.unlink()
    assert main([str(out), "--to", "parquet", "--root", str(given.pairs), "--name", "boxes"]) == 0
    assert first.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in others} == stamps
    assert "shards are already there and kept" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(given, exported, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadRequest, match="holds other files; name a new folder"):
        main([str(tmp_path), "--to", "png", "--root", str(given.pairs), "--name", "boxes"])
    with pytest.raises(BadRequest, match="in another form; name a new folder"):
        main([str(exported), "--to", "png", "--root", str(given.pairs), "--name", "boxes"])


def test_pairs_without_a_table_or_with_another_shard_say_what_to_do(given, tmp_path):
    pairs = tmp_path / "pairs"
    shutil.copytree(given.pairs, pairs)
    shutil.rmtree(pairs / "shard_0001.zarr")
    shutil.copytree(pairs / "shard_0002.zarr", pairs / "shard_0001.zarr")
    with pytest.raises(Failure, match=r"shard_0001\.zarr: not the shard that the manifest names"):
        main([str(tmp_path / "out"), "--to", "png", "--root", str(pairs), "--name", "boxes"])
    (pairs / "records.parquet").unlink()
    with pytest.raises(BadRequest, match=r"records\.parquet: the pairs are not finished"):
        main([str(tmp_path / "out"), "--to", "png", "--root", str(pairs), "--name", "boxes"])


def test_other_pairs_are_not_mixed_into_an_export_and_leftovers_are_cleared(given, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other" / "pairs"
    asked = [str(out), "--to", "png", "--name", "boxes", "--splits", "val"]
    main([*asked, "--root", str(given.pairs)])
    other.parent.mkdir()
    write_records(other, given.make_pairs(other, local_prob=1.0))
    with pytest.raises(BadRequest, match="holds an export of other pairs"):
        main([*asked, "--root", str(other)])
    left = out / ".export" / "shard_0007.partial-abc"
    left.mkdir()
    main([*asked, "--root", str(given.pairs)])
    assert not left.exists()
