import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from configs.section import Range
from pipeline.local import apply_local, draw_local
from tests.pipeline.strategies import generators, pairs_with_mask


@given(pairs_with_mask(), generators(), st.floats(0.05, 1))
def test_a_local_change_touches_only_its_mask_and_not_its_inputs(case, rng, weight):
    original, source, _ = case
    inputs = original.copy(), source.copy()
    draw = draw_local(rng, 4, 0.3, Range(low=weight, high=weight))

    changed, mask = apply_local(original, source, draw)

    assert (changed[~mask] == original[~mask]).all()
    assert (original == inputs[0]).all()
    assert (source == inputs[1]).all()


@given(pairs_with_mask(), st.integers(0, 1000))
def test_the_same_draw_gives_the_same_bytes(case, seed):
    original, source, _ = case
    draws = [draw_local(np.random.default_rng([seed]), 4, 0.3, Range(low=0.2, high=1.0)) for _ in range(2)]

    (first, first_mask), (second, second_mask) = (apply_local(original, source, draw) for draw in draws)

    assert draws[0] == draws[1]
    assert (first == second).all()
    assert (first_mask == second_mask).all()
