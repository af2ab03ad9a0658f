import pickle
import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.pairs.dataset import PairDataset
from pipeline.shards.cache import Cache
from pipeline.shards.format import ALIGNED, ELSEWHERE, PROMPT, THE_ORIGINAL, read_manifest, write_manifest
from pipeline.shards.writer import write_shard
from tests.model.tiny_pairs import form, in_store, square_pairs, write_square_shards


def test_a_split_is_its_shards_one_after_another(tmp_path):
    write_square_shards(tmp_path)
    dataset = PairDataset(tmp_path, "train")
    wanted = [*square_pairs(5, 64, seed=1), *square_pairs(3, 64, seed=3)]
    assert len(dataset) == 8
    for index in (0, 4, 5, 7):
        pair, new = dataset[index], wanted[index]
        assert pair["pair"].dtype == torch.uint8
        np.testing.assert_array_equal(pair["pair"], [new.original, new.changed])
        np.testing.assert_array_equal(pair["mask"], new.mask)
        assert (dataset.kind_names[pair["kind"]], pair["image_id"], pair["index"]) == (new.kind, new.image_id, index)
        assert pair["prompt_is"] == THE_ORIGINAL


def test_a_prompt_of_a_pair_s_own_takes_the_place_of_the_original(tmp_path):
    (plain,) = square_pairs(1, 64, seed=1)
    prompt = np.full_like(plain.original, 7)
    own = replace(plain, prompt_is=ELSEWHERE, more={PROMPT: prompt})
    other = replace(plain, prompt_is=ALIGNED, more={PROMPT: prompt + 1})
    pairs, said = [plain, own, plain, other], {"split": "train", "fingerprint": "f"}
    write_manifest(tmp_path / "here", [write_shard(tmp_path / "here", "shard_0000", form(64), pairs, said, {})])
    shutil.copytree(tmp_path / "here", tmp_path / "away")
    in_store(tmp_path / "away", "memory://with-prompts")
    cache = Cache(tmp_path / "blocks", 1_000_000, {read_manifest(tmp_path / "here").shards[0].sha256})
    for dataset in (PairDataset(tmp_path / "here", "train"), *[PairDataset(tmp_path / "away", "train", cache)] * 2):
        batch = dataset.read_range(0, 4)
        wanted = [THE_ORIGINAL, ELSEWHERE, THE_ORIGINAL, ALIGNED]
        assert batch["prompt_is"].tolist() == wanted == [pair["prompt_is"] for pair in dataset]
        for found in (batch["pair"], torch.stack([pair["pair"] for pair in dataset])):
            np.testing.assert_array_equal(found[:, 0], [plain.original, prompt, plain.original, prompt + 1])
            np.testing.assert_array_equal(found[:, 1], [plain.changed] * 4)


def test_pairs_of_a_store_are_those_of_the_folder_and_what_is_kept_is_not_fetched_again(tmp_path):
    write_square_shards(tmp_path / "pairs")
    wanted = PairDataset(tmp_path / "pairs", "train").read_range(0, 5)
    in_store(tmp_path / "pairs", "memory://of-the-folder")
    digests = {shard.sha256 for shard in read_manifest(tmp_path / "pairs").shards}
    cache = Cache(tmp_path / "blocks", 1_000_000, digests)

    def read(cache):
        return PairDataset(tmp_path / "pairs", "train", cache).read_range(0, 5)

    for found in (read(None), read(cache)):
        assert found.keys() == wanted.keys()
        assert all(torch.equal(values, wanted[name]) for name, values in found.items())
    fsspec.filesystem("memory").rm("/of-the-folder/shard_0000.zarr/pair/c", recursive=True)

    assert torch.equal(read(cache)["pair"], wanted["pair"])
    sent = pickle.loads(pickle.dumps(PairDataset(tmp_path / "pairs", "train", cache)))  # our own bytes
    with pytest.raises(Failure, match="cannot be read"):
        sent.read_range(0, 5)
    with pytest.raises(Failure, match="cannot be read"):
        read(None)


def test_a_shard_that_the_manifest_does_not_name_is_refused(tmp_path):
    write_square_shards(tmp_path)
    manifest = read_manifest(tmp_path)
    write_manifest(tmp_path, [replace(entry, sha256="0" * 64) for entry in manifest.shards])
    with pytest.raises(
        Failure, match=r"shard_0000\.zarr: not the shard that .*manifest\.json names as shard_0000; run"
    ):
        PairDataset(tmp_path, "train").read_range(0, 1)


def test_iterating_ends_after_the_last_pair(tmp_path):
    write_square_shards(tmp_path)
    assert [pair["index"] for pair in PairDataset(tmp_path, "val")] == [0, 1, 2]


def test_a_dataset_that_has_read_can_be_sent_to_a_loader_worker(tmp_path):
    write_square_shards(tmp_path)
    dataset = PairDataset(tmp_path, "val")
    before = dataset[1]
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[1]["pair"], before["pair"])  # our own bytes


def test_a_split_without_pairs_says_what_to_raise(tmp_path):
    write_manifest(tmp_path, [])
    with pytest.raises(Failure, match=r"no pair of split 'val'; raise index\.images, or index\.val_share"):
        PairDataset(tmp_path, "val")


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(BadRequest, match=r"manifest\.json"):
        PairDataset(tmp_path, "train")
