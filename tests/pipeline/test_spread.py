import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.spread import spread


@given(st.integers(1, 5000), st.integers(1, 600))
def test_places_are_spread_evenly_over_all(count, wanted):
    places = spread(count, wanted)
    assert len(set(places)) == len(places) == min(count, wanted)
    assert set(places) <= set(range(count))
    steps = np.diff(places)
    assert steps.size == 0 or 1 <= steps.min() <= steps.max() <= steps.min() + 1
    assert wanted == 1 or (places[0], places[-1]) == (0, count - 1)
