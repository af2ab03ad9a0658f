import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.training.plan import batch_sizes, block_starts, first_uses, most_held, order, rank_sizes, through_buffer

BLOCK = 4


@st.composite
def plans(draw):
    """Shard counts, batch size, ranks and buffer that go together, and what each rank does with them."""
    counts = draw(st.lists(st.integers(1, 11), min_size=1, max_size=6))
    ranks = draw(st.integers(1, min(4, sum(counts))))
    batch_size = draw(st.integers(ranks, 20))
    buffer = draw(st.integers(1, 30))
    seed, epoch = draw(st.integers(0, 5)), draw(st.integers(1, 5))
    starts = block_starts(counts, BLOCK)
    sizes = [rank_sizes(batch_sizes(sum(counts), batch_size, ranks), ranks, rank) for rank in range(ranks)]
    parts = [sum(each) for each in sizes]
    orders = [order(starts, sum(counts), parts, rank, buffer, seed, epoch) for rank in range(ranks)]
    return counts, buffer, starts, sizes, orders


@given(plans())
def test_every_pair_comes_exactly_once_an_epoch_on_any_number_of_devices(plan):
    counts, _, _, _, orders = plan
    assert sorted(np.concatenate(orders)) == list(range(sum(counts)))


@given(plans())
def test_no_device_is_ever_without_a_pair_and_none_has_two_more_than_another(plan):
    _, _, _, sizes, orders = plan
    for batch in zip(*sizes, strict=True):
        assert min(batch) >= 1
        assert max(batch) - min(batch) <= 1
    assert [sum(each) for each in sizes] == [len(each) for each in orders]


@given(plans())
def test_memory_is_bounded_by_the_buffer_a_block_and_a_batch_and_known_beforehand(plan):
    _, buffer, starts, sizes, orders = plan
    for rank, pairs in enumerate(orders):
        blocks = np.searchsorted(starts, pairs, side="right") - 1
        read, held, most, at = set(), 0, 0, 0
        for size in sizes[rank]:
            for block in blocks[at : at + size]:
                if block not in read:
                    read.add(block)
                    held += np.count_nonzero(blocks == block)
            most = max(most, held)
            held -= size
            at += size
        assert held == 0
        assert most_held(blocks, sizes[rank]) == most <= buffer + BLOCK + max(sizes[rank])


@given(plans())
def test_blocks_are_read_once_each_and_in_the_order_of_their_use(plan):
    _, _, starts, _, orders = plan
    for pairs in orders:
        blocks = np.searchsorted(starts, pairs, side="right") - 1
        uses = first_uses(blocks).tolist()
        assert uses == list(dict.fromkeys(blocks.tolist()))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_a_block_is_short_and_lies_in_one_shard(counts):
    starts = block_starts(counts)
    ends = np.append(starts[1:], sum(counts))
    assert ((ends - starts >= 1) & (ends - starts <= 32)).all()
    shard = np.repeat(np.arange(len(counts)), counts)
    assert (shard[starts] == shard[ends - 1]).all()


@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 3))
def test_a_pair_leaves_the_buffer_no_earlier_than_its_size_allows(length, buffer, seed):
    out = through_buffer(np.arange(length), buffer, np.random.default_rng(seed))
    assert sorted(out) == list(range(length))
    # The pair that leaves n-th entered among the first n + buffer.
    assert (out < np.arange(length) + buffer).all()


def test_a_buffer_of_one_keeps_the_order_and_a_large_one_reaches_every_place():
    rng = np.random.default_rng(0)
    assert through_buffer(np.arange(9), 1, rng).tolist() == list(range(9))
    places = np.array([through_buffer(np.arange(6), 6, rng).tolist().index(0) for _ in range(600)])
    assert np.bincount(places, minlength=6).min() > 70


def test_an_order_repeats_by_seed_and_epoch_and_differs_otherwise():
    starts = block_starts([64, 64])
    first, again, other_epoch, other_seed = (
        order(starts, 128, [128], 0, 50, seed, epoch).tolist() for seed, epoch in [(0, 1), (0, 1), (0, 2), (1, 1)]
    )
    assert first == again
    assert len({tuple(first), tuple(other_epoch), tuple(other_seed)}) == 3


@pytest.mark.parametrize(
    ("pairs", "batch_size", "ranks", "sizes"),
    [(10, 4, 1, [4, 4, 2]), (8, 4, 2, [4, 4]), (9, 4, 2, [4, 5]), (3, 8, 2, [3]), (10, 4, 2, [4, 4, 2])],
)
def test_the_last_batch_is_what_is_left_unless_a_device_would_get_nothing(pairs, batch_size, ranks, sizes):
    assert batch_sizes(pairs, batch_size, ranks) == sizes


@pytest.mark.parametrize(("pairs", "batch_size"), [(3, 8), (8, 3)])
def test_more_devices_than_pairs_in_a_batch_are_refused(pairs, batch_size):
    with pytest.raises(BadRequest, match="4 devices for batches of"):
        batch_sizes(pairs, batch_size, 4)
