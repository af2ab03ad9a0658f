import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs.errors import Failure
from pipeline.shards.chunk_reader import ChunkReader
from pipeline.shards.chunks import ChunkWriter

SHAPE = (2, 5, 3)
arrays = hnp.arrays(np.uint8, st.integers(1, 6).map(lambda count: (count, *SHAPE)))


def write(folder, values):
    writer = ChunkWriter(folder / "array", SHAPE)
    for chunk in values:
        writer.append(chunk)
    writer.finish()
    return folder / "array"


@settings(max_examples=25)
@given(arrays, st.data())
def test_any_run_of_chunks_is_read_as_it_was_written(tmp_path_factory, values, data):
    reader = ChunkReader(write(tmp_path_factory.mktemp("chunks"), values), len(values), SHAPE)
    first = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(first + 1, len(values)))

    assert (np.stack(reader.read(first, stop)) == values[first:stop]).all()


def test_what_zarr_python_writes_is_read_from_a_folder_and_from_a_url(tmp_path):
    values = np.random.default_rng(0).integers(256, size=(4, *SHAPE), dtype=np.uint8)
    array = tmp_path / "array"
    zarr.create_array(array, data=values, chunks=(1, *SHAPE), shards=(4, *SHAPE), compressors=[zarr.codecs.ZstdCodec()])
    memory = fsspec.filesystem("memory")
    memory.put(str(array), "/chunks/array", recursive=True)

    for where in (array, "memory://chunks/array"):
        assert (np.stack(ChunkReader(where, 4, SHAPE).read(1, 4)) == values[1:]).all()


def test_a_file_without_its_index_is_told_from_a_finished_one(tmp_path):
    array = write(tmp_path, np.zeros((3, *SHAPE), np.uint8))
    file = next(path for path in array.rglob("*") if path.is_file())
    with pytest.raises(Failure, match=r"no index of 2 chunks at its end; delete the shard and run `dvc repro`"):
        ChunkReader(array, 2, SHAPE)

    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(Failure, match="no index of 3 chunks"):
        ChunkReader(array, 3, SHAPE)


def test_a_flipped_bit_and_a_file_that_is_gone_are_named_with_what_to_do(tmp_path):
    array = write(tmp_path, np.random.default_rng(0).integers(256, size=(3, *SHAPE), dtype=np.uint8))
    file = next(path for path in array.rglob("*") if path.is_file())
    reader = ChunkReader(array, 3, SHAPE)
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)

    with pytest.raises(Failure, match=r"chunk 0 cannot be read .*; delete the shard and run `dvc repro`"):
        reader.read(0, 1)
    assert len(reader.read(1, 3)) == 2

    file.unlink()
    with pytest.raises(Failure, match=r"cannot be read .*; delete the shard and run `dvc repro`"):
        reader.read(1, 2)
    with pytest.raises(Failure, match=r"cannot be read .*; delete the shard and run `dvc repro`"):
        ChunkReader(array, 3, SHAPE)
