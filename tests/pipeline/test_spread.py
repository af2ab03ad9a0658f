import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.spread import spread


@given(st.integers(0, 500), st.integers(0, 500))
def test_places_are_as_many_as_may_be_in_order_each_once_and_at_both_ends(count, most):
    places = spread(count, most)

    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    assert places[:1] == [0][: len(places)]
    assert len(places) < 2 or places[-1] == count - 1


@given(st.integers(1, 5000), st.integers(2, 600))
def test_steps_between_places_differ_by_one_at_most(count, most):
    steps = np.diff(spread(count, most))

    assert steps.size == 0 or 1 <= steps.min() <= steps.max() <= steps.min() + 1
