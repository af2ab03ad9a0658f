import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import Failure
from pipeline.shards.cache import CRC_BYTES, Cache

SHARD, OTHER = "a" * 64, "b" * 64


class Store:
    """What is to be fetched, and how often it was."""

    def __init__(self, data: bytes) -> None:
        self.data, self.fetched = data, 0

    def __call__(self) -> bytes:
        self.fetched += 1
        return self.data


def content(number: int) -> bytes:
    return bytes([number]) * (10 + 7 * number)


def held(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@settings(max_examples=50)
@given(st.lists(st.integers(0, 9), max_size=40), st.integers(0, 500))
def test_what_is_read_is_what_the_store_holds_and_the_folder_is_never_larger_than_said(tmp_path_factory, asked, limit):
    folder = tmp_path_factory.mktemp("cache") / "blocks"
    cache = Cache(folder, limit, {SHARD})
    for number in asked:
        assert cache.read(SHARD, f"{number}", lambda number=number: content(number)) == content(number)
        assert held(folder) <= limit
    again = Cache(folder, limit, {SHARD})  # the next run finds it
    kept = {file.name for file in folder.iterdir()}
    for number in set(asked):
        store = Store(content(number))
        assert again.read(SHARD, f"{number}", store) == content(number)
        assert store.fetched == (0 if f"{SHARD}-{number}" in kept else 1)


def test_what_is_there_stays_and_what_finds_no_room_is_fetched_again(tmp_path):
    cache = Cache(tmp_path, 2 * (4 + CRC_BYTES), {SHARD})
    stores = {name: Store(name.encode() * 4) for name in "abc"}
    for _ in range(3):
        for name, store in stores.items():
            assert cache.read(SHARD, name, store) == store.data
    assert {name: store.fetched for name, store in stores.items()} == {"a": 1, "b": 1, "c": 3}


def test_what_is_kept_of_other_data_sets_makes_room_the_oldest_first(tmp_path):
    before = Cache(tmp_path, 100, {OTHER})
    for name, written in [("young", 2), ("old", 1)]:
        before.read(OTHER, name, lambda: b"1234")
        os.utime(tmp_path / f"{OTHER}-{name}", (written, written))

    Cache(tmp_path, 3 * (4 + CRC_BYTES), {SHARD}).read(SHARD, "a", lambda: b"1234")
    assert len(list(tmp_path.iterdir())) == 3
    Cache(tmp_path, 3 * (4 + CRC_BYTES), {SHARD}).read(SHARD, "b", lambda: b"1234")

    assert {file.name for file in tmp_path.iterdir()} == {f"{OTHER}-young", f"{SHARD}-a", f"{SHARD}-b"}


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"x" + data[1:], lambda _: b""])
def test_a_kept_file_that_is_not_what_was_written_is_fetched_again(tmp_path, damage):
    cache, store = Cache(tmp_path, 1000, {SHARD}), Store(b"some pixels")
    cache.read(SHARD, "a", store)
    file = tmp_path / f"{SHARD}-a"
    file.write_bytes(damage(file.read_bytes()))

    assert cache.read(SHARD, "a", store) == b"some pixels"
    assert cache.read(SHARD, "a", store) == b"some pixels"
    assert store.fetched == 2


def test_what_cannot_be_written_is_one_line(tmp_path):
    cache = Cache(tmp_path / "blocks", 1000, {SHARD})
    (tmp_path / "blocks").rmdir()
    with pytest.raises(Failure, match=r"cannot be written .*; make room, or lower train\.cache_gb"):
        cache.read(SHARD, "a", lambda: b"some pixels")
