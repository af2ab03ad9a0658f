from hypothesis import given
from hypothesis import strategies as st

from pipeline.shards.jobs import RANK_BITS, cut_by_rank, plan_shards

RANKS = st.sets(st.integers(0, 2**RANK_BITS - 1), max_size=60).map(sorted)


@given(RANKS, st.integers(1, 9))
def test_runs_cover_every_place_once_in_order_and_hold_at_most_so_many(ranks, most):
    runs = cut_by_rank(ranks, most)

    assert [place for first, stop in runs for place in range(first, stop)] == list(range(len(ranks)))
    assert all(1 <= stop - first <= most for first, stop in runs)


@given(RANKS, st.integers(0, 2**RANK_BITS - 1), st.integers(1, 9))
def test_one_more_changes_the_run_that_it_is_in_and_no_other(ranks, more, most):
    def runs(ranks):
        return {tuple(ranks[first:stop]) for first, stop in cut_by_rank(ranks, most)}

    without, with_it = runs([rank for rank in ranks if rank != more]), runs(sorted({*ranks, more}))

    gone, come = without - with_it, with_it - without
    assert len(gone) <= 1
    assert {rank for run in come for rank in run} == {rank for run in gone for rank in run} | {more}


def test_shards_are_numbered_over_all_splits_and_depend_on_their_own_part():
    jobs = plan_shards({"train": [1, 2, 2**62], "val": [5]}, 2, {"seed": 0}, lambda part: {"rows": part.first})

    assert [(job.name, job.part.split, job.part.first, job.part.stop) for job in jobs] == [
        ("shard_0000", "train", 0, 2),
        ("shard_0001", "train", 2, 3),
        ("shard_0002", "val", 0, 1),
    ]
    assert [job.attributes for job in jobs] == [
        {"seed": 0, "split": "train", "rows": 0},
        {"seed": 0, "split": "train", "rows": 2},
        {"seed": 0, "split": "val", "rows": 0},
    ]
    assert len({job.fingerprint for job in jobs}) == 3
