import pickle

import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.pairs.dataset import PairDataset
from pipeline.shards.format import write_manifest
from tests.model.tiny_pairs import square_pairs, write_square_shards


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
        assert (pair["kind"], pair["image_id"], pair["index"]) == (new.kind, new.image_id, index)


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
