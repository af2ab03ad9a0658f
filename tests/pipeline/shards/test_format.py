import json
import pickle
import subprocess
import sys
from dataclasses import astuple, replace

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs.errors import BadRequest, Failure
from pipeline.shards.format import (
    ARRAYS,
    NO_DONOR,
    content_digests,
    is_intact,
    read_manifest,
    shard_names,
    shard_path,
    write_manifest,
)
from pipeline.shards.opened import open_shard
from pipeline.shards.writer import Form, NewPair, write_shard
from tests.conftest import ROOT

KINDS = ("unchanged", "inpaint", "paste", "local")
GROUPS = ("bottle", "screw")
ATTRIBUTES = {"split": "train", "fingerprint": "f" * 64, "seed": 0}
DTYPES = {"pair": "uint8", "mask": "uint8", "kind": "uint8", "image_id": "int64", "donor_id": "int64"}
DTYPES |= {"group": "uint16", "prompt_is": "uint8", "hole": "uint8"}


@st.composite
def new_pairs(draw):
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    ids = st.integers(-(2**63), 2**63 - 1)
    return [
        NewPair(
            draw(hnp.arrays(np.uint8, (*size, 3))),
            draw(hnp.arrays(np.uint8, (*size, 3))),
            draw(hnp.arrays(np.bool_, size)),
            draw(st.sampled_from(KINDS)),
            draw(st.sampled_from(GROUPS)),
            draw(ids),
            draw(ids),
            {"number": number},
            draw(st.integers(0, 2)),
            {"hole": draw(hnp.arrays(np.bool_, size))} if draw(st.booleans()) else {},
        )
        for number in range(draw(st.integers(1, 4)))
    ]


def some_pairs(count=3):
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(count, 2, 16, 8, 3), dtype=np.uint8)
    masks = rng.integers(2, size=(count, 16, 8)).astype(np.bool_)
    return [
        NewPair(*pixels[i], masks[i], KINDS[i % 4], GROUPS[i % 2], i, NO_DONOR, {"number": i}) for i in range(count)
    ]


def write(root, pairs, name="shard_0000", size=(16, 8)):
    return write_shard(root, name, Form(size, KINDS, GROUPS, {"hole": size}), iter(pairs), ATTRIBUTES, {})


@settings(max_examples=25)
@given(new_pairs())
def test_what_is_written_is_read_by_either_codec_pipeline(tmp_path_factory, pairs):
    root = tmp_path_factory.mktemp("shards")

    entry = write(root, pairs, size=pairs[0].mask.shape)
    shard = open_shard(root, "shard_0000")

    plain = zarr.open_group(shard_path(root, "shard_0000"), mode="r")
    for codec, read in (("Zarrs", vars(shard) | shard.extra), ("Batched", dict(plain.arrays()))):
        assert codec in type(read["pair"].async_array.codec_pipeline).__name__
        assert {name: read[name].dtype.name for name in (*ARRAYS, "hole")} == DTYPES
        for number, new in enumerate(pairs):
            assert (np.asarray(read["pair"][number]) == [new.original, new.changed]).all()
            assert (np.asarray(read["mask"][number]) == new.mask).all()
            hole = new.more.get("hole", np.zeros_like(new.mask))  # what is not given is not stored, and read as zero
            assert (np.asarray(read["hole"][number]) == hole).all()
        for name in ("image_id", "donor_id", "prompt_is"):
            assert np.asarray(read[name][:]).tolist() == [getattr(new, name) for new in pairs]
        assert [shard.groups[group] for group in np.asarray(read["group"][:])] == [new.group for new in pairs]
        assert [shard.kinds[kind] for kind in np.asarray(read["kind"][:])] == [new.kind for new in pairs]
    assert shard.entry == entry
    assert shard.attributes["digests"] == content_digests(shard_path(root, "shard_0000"))
    assert is_intact(shard_path(root, entry.name), entry)
    assert shard.attributes["records"] == [new.record for new in pairs]
    assert sum(entry.kinds.values()) == entry.pairs == len(pairs)


def test_the_streamed_file_is_the_one_zarr_python_writes(tmp_path):
    """Byte for byte: the same chunks in the same order, the same index, the same metadata."""
    pairs = some_pairs(5)
    write(tmp_path, pairs)
    streamed = zarr.open_group(shard_path(tmp_path, "shard_0000"), mode="r")["pair"]
    values = np.stack([[new.original, new.changed] for new in pairs])
    whole = zarr.create_array(
        tmp_path / "whole.zarr",
        data=values,
        chunks=streamed.chunks,
        shards=streamed.shards,
        compressors=streamed.compressors,
        fill_value=0,
        dimension_names=streamed.metadata.dimension_names,
    )

    assert (whole[:] == values).all()
    ours = shard_path(tmp_path, "shard_0000") / "pair"
    for name in ("zarr.json", "c/0/0/0/0/0"):
        assert (ours / name).read_bytes() == (tmp_path / "whole.zarr" / name).read_bytes(), name


def test_a_shard_without_a_pair_is_a_shard(tmp_path):
    write(tmp_path, [])

    assert open_shard(tmp_path, "shard_0000").pair.shape == (0, 2, 16, 8, 3)
    assert open_shard(tmp_path, "shard_0000").entry.pairs == 0


GROWTH = """
import resource, sys
import numpy as np
from pathlib import Path
from pipeline.shards import Form, NewPair, write_shard

def pairs(count):
    for number in range(count):
        image = np.random.default_rng(number).integers(256, size=(256, 256, 3), dtype=np.uint8)
        yield NewPair(image, image, image[..., 0] > 99, "inpaint", "all", number, -1, {"number": number})

peaks = []
for count in (8, 256):
    form, attributes = Form((256, 256), ("unchanged", "inpaint"), ("all",)), {"split": "train", "fingerprint": ""}
    write_shard(Path(sys.argv[1]), "shard_0000", form, pairs(count), attributes, {})
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(peaks[1] - peaks[0])
"""


def test_memory_does_not_grow_with_the_size_of_a_shard(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-c", GROWTH, tmp_path], cwd=ROOT, text=True, capture_output=True, check=True
    )

    assert int(shown.stdout) < 20_000, "KiB more at the peak for 248 more pairs, 98 MB of pixels"


def test_the_same_pairs_give_the_same_bytes(tmp_path):
    content = some_pairs(40)

    first, second = (write(tmp_path, content, name) for name in ("shard_0000", "shard_0001"))

    assert first.sha256 == second.sha256
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (shard_path(tmp_path, "shard_0000"), shard_path(tmp_path, "shard_0001"))
    ]
    assert files[0] == files[1]  # under whatever name


@pytest.mark.parametrize("array", ["pair", "mask", "image_id"])
def test_a_flipped_bit_anywhere_is_found(tmp_path, array):
    entry = write(tmp_path, some_pairs())
    assert is_intact(shard_path(tmp_path, entry.name), entry)
    file = max((shard_path(tmp_path, "shard_0000") / array / "c").rglob("*"), key=lambda path: path.stat().st_size)
    file = next(path for path in file.parent.rglob("*") if path.is_file()) if file.is_dir() else file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    assert not is_intact(shard_path(tmp_path, entry.name), entry)


def test_a_shard_is_replaced_whole_and_leaves_nothing_aside(tmp_path):
    write(tmp_path, some_pairs(3))
    write(tmp_path, some_pairs(2))

    assert [path.name for path in tmp_path.iterdir()] == ["shard_0000.zarr"]
    assert open_shard(tmp_path, "shard_0000").entry.pairs == 2


def test_a_write_that_breaks_off_leaves_the_old_shard_and_nothing_aside(tmp_path):
    write(tmp_path, some_pairs(3))

    def breaks_off():
        yield from some_pairs(2)
        raise Failure("no more")

    with pytest.raises(Failure, match="no more"):
        write(tmp_path, breaks_off())

    assert open_shard(tmp_path, "shard_0000").entry.pairs == 3
    assert [path.name for path in tmp_path.iterdir()] == ["shard_0000.zarr"]


def test_a_reader_of_one_pair_notices_a_flipped_bit(tmp_path):
    write(tmp_path, some_pairs())
    file = shard_path(tmp_path, "shard_0000") / "pair" / "c/0/0/0/0/0"
    data = bytearray(file.read_bytes())
    data[100] ^= 1  # in the first chunk, which holds noise
    file.write_bytes(data)

    with pytest.raises(OSError, match="checksum"):
        open_shard(tmp_path, "shard_0000").pair[0]


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


def test_shards_stand_in_the_order_of_their_numbers_beyond_four_digits_too(tmp_path):
    names = ["shard_0999", "shard_1000", "shard_9999", "shard_10000", "shard_10001"]
    entries = [write(tmp_path, some_pairs(1), name) for name in names]

    manifest = write_manifest(tmp_path, entries[::-1])

    assert [entry.name for entry in manifest.shards] == shard_names(tmp_path) == names
    assert [entry.name for entry in read_manifest(tmp_path).shards] == names


def test_pairs_are_counted_distinct_by_pixels_and_mask_and_by_image(tmp_path):
    one, other, third = some_pairs(3)
    masked = replace(one, mask=~one.mask)
    entry = write(tmp_path, [one, replace(one, record={"number": 9}), masked, other, third])

    assert (entry.pairs, entry.distinct) == (5, 4)
    assert entry.per_image == (3, 1, 1)
    assert write_manifest(tmp_path, [entry]).distinct == 4
    assert read_manifest(tmp_path).distinct == 4


def test_an_unknown_shard_lists_what_there_is(tmp_path):
    with pytest.raises(BadRequest, match=r"no shard_0009 in .* \(no shards there; run `dvc repro`\)"):
        open_shard(tmp_path, "shard_0009")
    for name in ("shard_0000", "shard_0001", "shard_0002"):
        write(tmp_path, some_pairs(1), name)
    with pytest.raises(BadRequest, match=r"shards there: shard_0000 \.\. shard_0002"):
        open_shard(tmp_path, "shard_0009")


def test_a_folder_that_is_no_shard_says_what_to_do(tmp_path):
    shard_path(tmp_path, "shard_0000").mkdir()

    with pytest.raises(Failure, match="delete the shard and run `dvc repro`"):
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


def test_a_store_that_cannot_be_reached_is_one_line_and_nobody_is_told_to_delete_a_shard():
    with pytest.raises(
        Failure, match=r"shard_0000\.zarr: cannot be read .*; check the network and the keys"
    ) as failure:
        open_shard("http://127.0.0.1:9/pairs", "shard_0000")
    assert failure.value.status == Failure.status
    assert "delete" not in str(failure.value)
    with pytest.raises(BadRequest, match=r"no shard_0000 in memory://nowhere \(check the network and the keys"):
        open_shard("memory://nowhere", "shard_0000")
    with pytest.raises(BadRequest, match="wanted a folder or a URL such as s3"):
        open_shard("gopher://nowhere", "shard_0000")


def test_an_error_of_this_machine_does_not_tell_anyone_to_delete_a_shard(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("pipeline.shards.opened.zarr.open_group", fail)
    with pytest.raises(Failure, match=r"cannot be read .*Too many open files") as failure:
        open_shard(tmp_path, "shard_0000")
    assert "delete" not in str(failure.value)
