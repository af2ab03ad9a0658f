import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import Failure
from pipeline.shards.cache import Cache
from pipeline.shards.chunk_reader import ChunkReader
from pipeline.shards.chunks import ChunkWriter

SHARD, OTHER = "a" * 64, "b" * 64
SHAPE = (4, 4)


def content(number: int) -> bytes:
    return bytes([number]) * (10 + 7 * number)


def held(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@settings(max_examples=100)
@given(
    before=st.lists(st.integers(0, 9), max_size=8, unique=True),
    puts=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), max_size=60),
    limit=st.integers(0, 500),
)
def test_what_is_found_is_what_was_put_and_processes_together_stay_below_the_limit(
    tmp_path_factory, before, puts, limit
):
    folder = tmp_path_factory.mktemp("cache") / "blocks"
    earlier = Cache(folder, limit, {OTHER})
    for number in before:
        earlier.put(f"{OTHER}-{number}", content(number))
    caches: dict[int, Cache] = {}
    for process, number in puts:  # each lists the folder when it begins, after others have made room or not
        cache = caches.setdefault(process, Cache(folder, limit, {SHARD}, 3))
        cache.put(f"{SHARD}-{process}-{number}", content(number))
        assert cache.get(f"{SHARD}-{process}-{number}") in (None, content(number))
        assert held(folder) <= limit
    later = Cache(folder, limit, {SHARD})
    assert all(later.get(name) == content(int(name[-1])) for name in names(folder))


def test_what_is_there_stays_and_nothing_new_is_kept_when_there_is_no_room(tmp_path):
    cache = Cache(tmp_path, 9, {SHARD})
    for name in "abca":
        cache.put(f"{SHARD}-{name}", b"1234")
    assert names(tmp_path) == {f"{SHARD}-a", f"{SHARD}-b"}
    assert cache.get(f"{SHARD}-c") is None


def test_what_is_kept_of_other_data_sets_makes_room_the_oldest_first_and_no_other_file_does(tmp_path):
    before = Cache(tmp_path, 100, {OTHER})
    for name, written in [("young", 2), ("old", 1)]:
        before.put(f"{OTHER}-{name}", b"1234")
        os.utime(tmp_path / f"{OTHER}-{name}", (written, written))
    (tmp_path / "thesis.tex").write_text("mine")
    (tmp_path / "lost+found").mkdir()

    cache = Cache(tmp_path, 12, {SHARD})
    cache.put(f"{SHARD}-large", b"1" * 13)
    cache.put(f"{SHARD}-a", b"1234")
    assert len(names(tmp_path)) == 3 + 2
    cache.put(f"{SHARD}-b", b"1234")

    assert names(tmp_path) == {f"{OTHER}-young", f"{SHARD}-a", f"{SHARD}-b", "thesis.tex", "lost+found"}


def test_one_process_makes_all_the_room_there_is(tmp_path):
    earlier = Cache(tmp_path, 40, {OTHER})
    for number in range(10):
        earlier.put(f"{OTHER}-{number}", b"1234")
    cache = Cache(tmp_path, 40, {SHARD})
    for number in range(12):
        cache.put(f"{SHARD}-{number}", b"1234")
    assert names(tmp_path) == {f"{SHARD}-{number}" for number in range(10)}


def test_a_deleted_folder_is_made_again_and_one_that_cannot_be_is_one_line(tmp_path):
    folder = tmp_path / "blocks"
    cache = Cache(folder, 1000, {SHARD})
    folder.rmdir()
    assert cache.get(f"{SHARD}-a") is None
    cache.put(f"{SHARD}-a", b"1234")
    assert cache.get(f"{SHARD}-a") == b"1234"
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(Failure, match=r"cannot be used .*; mend it, or set train\.cache_gb to 0"):
            Cache(tmp_path / name, 1000, {SHARD})


def test_a_folder_that_can_no_longer_be_written_is_told_once_and_ends_nothing(tmp_path, capsys):
    cache = Cache(tmp_path / "blocks", 1000, {SHARD})
    (tmp_path / "blocks").rmdir()
    (tmp_path / "blocks").touch()
    for name in "ab":
        cache.put(f"{SHARD}-{name}", b"1234")
        assert cache.get(f"{SHARD}-{name}") is None
    assert capsys.readouterr().err.count("nothing more is kept there") == 1


@pytest.fixture
def stored(tmp_path):
    """Four chunks in a store, the file they lie in, and what was written."""
    values = np.random.default_rng(0).integers(256, size=(4, *SHAPE), dtype=np.uint8)
    writer = ChunkWriter(tmp_path / "array", SHAPE)
    for chunk in values:
        writer.append(chunk)
    writer.finish()
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "array"), "/kept/array", recursive=True)
    yield memory, memory.find("/kept/array")[0], values
    memory.rm("/kept", recursive=True)


def reader(cache):
    return ChunkReader("memory://kept/array", 4, SHAPE, cache, f"{SHARD}-pair")


def test_damage_in_the_store_is_not_kept(tmp_path, stored):
    memory, file, values = stored
    whole = memory.cat_file(file)
    cache = Cache(tmp_path / "blocks", 10_000, {SHARD})
    for damage in (whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], whole[: len(whole) // 3]):
        memory.pipe_file(file, damage)
        with pytest.raises(Failure, match=r"memory://kept.*check the network .* `dvc repro --force"):
            reader(cache).read(0, 4)
    memory.pipe_file(file, whole)
    assert (reader(cache).read(0, 4) == values).all()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:8] + b"x" + data[9:], lambda _: b""])
def test_a_kept_file_that_is_not_what_was_read_is_fetched_again_and_put_right(tmp_path, stored, damage):
    memory, file, values = stored
    folder = tmp_path / "blocks"
    size = memory.size(file)
    cache = Cache(folder, size, {SHARD})  # full, once all is kept
    reader(cache).read(0, 4)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    assert sum(map(len, kept.values())) == size
    for path, data in kept.items():
        path.write_bytes(damage(data))

    again = Cache(folder, size, {SHARD})
    assert (reader(again).read(0, 4) == values).all()
    memory.rm(file)

    assert {path: path.read_bytes() for path in folder.iterdir()} == kept
    assert (reader(again).read(0, 4) == values).all()
    with pytest.raises(Failure, match="cannot be read"):
        reader(again).read(0, 4, keep=False)


def test_threads_that_put_at_once_count_each_file_once(tmp_path):
    cache = Cache(tmp_path, 100_000, {SHARD})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: cache.put(f"{SHARD}-{number % 50}", content(number % 50)), range(400)))
    assert len(names(tmp_path)) == 50
    full = Cache(tmp_path, held(tmp_path) + 4, {SHARD})
    full.put(f"{SHARD}-five", b"12345")
    full.put(f"{SHARD}-four", b"1234")
    assert len(names(tmp_path)) == 51
