import json
import pickle
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs.errors import BadRequest, Failure
from pipeline.shards import (
    KINDS,
    Pairs,
    is_intact,
    open_shard,
    read_manifest,
    shard_names,
    shard_path,
    write_manifest,
    write_shard,
)

ATTRIBUTES = {"split": "train", "fingerprint": "f" * 64, "seed": 0}


@st.composite
def pairs(draw):
    count, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    ids = hnp.arrays(np.int64, count)
    return Pairs(
        pair=draw(hnp.arrays(np.uint8, (count, 2, height, width, 3))),
        mask=draw(hnp.arrays(np.uint8, (count, height, width), elements=st.integers(0, 1))),
        kind=draw(hnp.arrays(np.uint8, count, elements=st.integers(0, len(KINDS) - 1))),
        image_id=draw(ids),
        donor_id=draw(ids),
    )


def write(root, content, name="shard_0000", **attributes):
    records = [{"number": number} for number in range(len(content.kind))]
    return write_shard(root, name, content, {**ATTRIBUTES, "records": records, **attributes}, {})


def some_pairs(count=3):
    rng = np.random.default_rng(0)
    return Pairs(
        pair=rng.integers(256, size=(count, 2, 16, 8, 3), dtype=np.uint8),
        mask=rng.integers(2, size=(count, 16, 8), dtype=np.uint8),
        kind=np.arange(count, dtype=np.uint8) % 4,
        image_id=np.arange(count),
        donor_id=np.full(count, -1),
    )


@settings(max_examples=25)
@given(pairs())
def test_what_is_written_is_read(tmp_path_factory, content):
    root = tmp_path_factory.mktemp("shards")

    entry = write(root, content)
    shard = open_shard(root, "shard_0000")

    for array, written in vars(content).items():
        read = np.asarray(getattr(shard, array)[:])
        assert read.dtype == written.dtype
        assert (read == written).all()
    assert shard.entry == entry
    assert [record["number"] for record in shard.attributes["records"]] == list(range(entry.pairs))
    assert sum(entry.kinds.values()) == entry.pairs


def test_the_same_pairs_give_the_same_bytes(tmp_path):
    content = some_pairs(40)

    first, second = (write(tmp_path, content, name) for name in ("shard_0000", "shard_0001"))

    assert first.sha256 == second.sha256
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (shard_path(tmp_path, "shard_0000"), shard_path(tmp_path, "shard_0001"))
    ]
    assert files[0].keys() == files[1].keys()
    assert [name for name in files[0] if files[0][name] != files[1][name]] == [
        name for name in files[0] if str(name) == "zarr.json"
    ]


@pytest.mark.parametrize("array", ["pair", "mask", "image_id"])
def test_a_flipped_bit_anywhere_is_found(tmp_path, array):
    entry = write(tmp_path, some_pairs())
    assert is_intact(tmp_path, entry)
    file = max((shard_path(tmp_path, "shard_0000") / array / "c").rglob("*"), key=lambda path: path.stat().st_size)
    file = next(path for path in file.parent.rglob("*") if path.is_file()) if file.is_dir() else file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    assert not is_intact(tmp_path, entry)


def test_a_shard_is_replaced_whole_and_leaves_nothing_aside(tmp_path):
    write(tmp_path, some_pairs(3))
    write(tmp_path, some_pairs(2))

    assert [path.name for path in tmp_path.iterdir()] == ["shard_0000.zarr"]
    assert open_shard(tmp_path, "shard_0000").entry.pairs == 2


def test_a_write_that_breaks_off_leaves_the_old_shard(tmp_path):
    write(tmp_path, some_pairs(3))

    with pytest.raises(KeyError):
        write_shard(tmp_path, "shard_0000", some_pairs(2), {"records": []}, {})

    assert open_shard(tmp_path, "shard_0000").entry.pairs == 3
    assert shard_names(tmp_path) == ["shard_0000"]


def test_the_manifest_round_trips_and_its_digest_follows_the_content(tmp_path):
    entries = [write(tmp_path, some_pairs(count), f"shard_{count:04d}") for count in (1, 2, 3)]

    manifest = write_manifest(tmp_path, entries[::-1])

    assert read_manifest(tmp_path) == manifest
    assert [entry.name for entry in manifest.shards] == ["shard_0001", "shard_0002", "shard_0003"]
    assert manifest.kinds == {"unchanged": 3, "inpaint": 2, "paste": 1, "local": 0}
    assert manifest.kind_shares["unchanged"] == 0.5
    assert json.loads((tmp_path / "manifest.json").read_text())["digest"] == manifest.digest
    other = write(tmp_path, some_pairs(4), "shard_0003")
    assert write_manifest(tmp_path, [*entries[:2], other]).digest != manifest.digest


def test_an_unknown_shard_lists_what_there_is(tmp_path):
    with pytest.raises(BadRequest, match=r"no shard_0009 in .* \(no shards there; run `dvc repro`\)"):
        open_shard(tmp_path, "shard_0009")
    for name in ("shard_0000", "shard_0001", "shard_0002"):
        write(tmp_path, some_pairs(1), name)
    with pytest.raises(BadRequest, match=r"shards there: shard_0000 \.\. shard_0002"):
        open_shard(tmp_path, "shard_0009")


def test_a_folder_that_is_no_shard_says_what_to_do(tmp_path):
    shard_path(tmp_path, "shard_0000").mkdir()

    with pytest.raises(Failure, match="delete it and run `dvc repro`"):
        open_shard(tmp_path, "shard_0000")


def test_a_missing_or_broken_manifest_says_what_to_do(tmp_path):
    with pytest.raises(BadRequest, match="the shards are not finished; run `dvc repro`"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(Failure, match="not a manifest"):
        read_manifest(tmp_path)


def test_a_shard_can_be_sent_to_another_process(tmp_path):
    write(tmp_path, some_pairs())
    shard = open_shard(tmp_path, "shard_0000")

    copied = pickle.loads(pickle.dumps(shard))

    assert (np.asarray(copied.pair[1]) == np.asarray(shard.pair[1])).all()
    assert astuple(copied.entry) == astuple(shard.entry)
