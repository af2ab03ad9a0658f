from itertools import chain

import numpy as np
import pytest
import torch

from model.pairs.dataset import PairDataset
from model.training.feed import Feed
from pipeline.shards.format import write_manifest
from pipeline.shards.writer import write_shard
from tests.model.tiny_pairs import form, square_pairs

COUNTS = (40, 7, 33)
ATTRIBUTES = {"split": "train", "fingerprint": "f"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    write_manifest(
        root,
        [
            write_shard(root, f"shard_{n:04d}", form(32), square_pairs(count, 32, n), ATTRIBUTES, {})
            for n, count in enumerate(COUNTS)
        ],
    )
    return PairDataset(root, "train")


def indices(batches):
    return [batch["index"].tolist() for batch in batches]


def joined(lists):
    return list(chain.from_iterable(lists))


def test_batches_hold_what_the_shards_hold(dataset):
    for batch in Feed(dataset, 9, buffer=20).epoch(1):
        for row, index in enumerate(batch["index"].tolist()):
            pair = dataset[index]
            assert torch.equal(batch["pair"][row], pair["pair"])
            assert torch.equal(batch["mask"][row], pair["mask"])
            assert (batch["kind"][row], batch["image_id"][row]) == (pair["kind"], pair["image_id"])


def test_epochs_have_every_pair_in_another_order(dataset):
    feed = Feed(dataset, 9, buffer=20)
    first, second = (joined(indices(feed.epoch(epoch))) for epoch in (1, 2))
    assert sorted(first) == sorted(second) == list(range(sum(COUNTS)))
    assert first != second


def test_without_a_buffer_pairs_come_as_they_are_stored(dataset):
    assert joined(indices(Feed(dataset, 9).epoch(1))) == list(range(sum(COUNTS)))


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_every_batch_and_have_no_pair_in_common(dataset, ranks):
    feeds = [Feed(dataset, 9, buffer=20, ranks=ranks, rank=rank) for rank in range(ranks)]
    seen = [indices(feed.epoch(1)) for feed in feeds]
    assert sorted(joined(joined(seen))) == list(range(sum(COUNTS)))
    together = [sum(map(len, batch)) for batch in zip(*seen, strict=True)]
    assert together == feeds[0].batch_sizes


@pytest.mark.parametrize("consumed", range(10))
def test_an_epoch_goes_on_after_any_batch_with_the_pairs_that_are_left(dataset, consumed):
    feed = Feed(dataset, 9, buffer=20)
    assert indices(feed.epoch(3, consumed)) == indices(feed.epoch(3))[consumed:]


def test_workers_change_neither_the_batches_nor_where_they_go_on(dataset):
    alone, helped = Feed(dataset, 9, buffer=20), Feed(dataset, 9, buffer=20, workers=2)
    for epoch, consumed in [(1, 0), (2, 4)]:
        for one, other in zip(alone.epoch(epoch, consumed), helped.epoch(epoch, consumed), strict=True):
            assert all(torch.equal(values, other[name]) for name, values in one.items())


def test_an_epoch_left_early_does_not_disturb_the_next(dataset):
    feed, fresh = (Feed(dataset, 9, buffer=20, workers=1) for _ in range(2))
    next(feed.epoch(1))
    assert indices(feed.epoch(2)) == indices(fresh.epoch(2))


def test_the_feed_draws_nothing_from_the_networks_numbers(dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(Feed(dataset, 9, buffer=20).epoch(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_of_pairs_is_those_pairs_one_by_one(dataset):
    run = dataset.read_range(41, 46)
    for row, index in enumerate(range(41, 46)):
        pair = dataset[index]
        assert all(np.array_equal(run[name][row], pair[name]) for name in pair)
    assert dataset.place(41) == ("shard_0001", 1)
    assert dataset.kinds().tolist() == [dataset[index]["kind"] for index in range(sum(COUNTS))]
