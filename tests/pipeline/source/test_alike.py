import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.alike import MOST_BITS, groups_alike

LOOKS = st.lists(st.integers(0, 2**64 - 1), max_size=20)


@st.composite
def looks_near_each_other(draw):
    """Looks of which some are others with a few bits turned."""
    looks = draw(LOOKS)
    for place in range(len(looks)):
        if draw(st.booleans()):
            looks[place] = looks[draw(st.integers(0, place))]
            for bit in draw(st.lists(st.integers(0, 63), max_size=7)):
                looks[place] ^= 1 << bit
    return looks


@given(looks_near_each_other())
def test_groups_are_those_of_comparing_all_with_all(looks):
    group = list(range(len(looks)))
    for one in range(len(looks)):
        for other in range(one):
            if (looks[one] ^ looks[other]).bit_count() <= MOST_BITS:
                group = [group[other] if found == group[one] else found for found in group]
    expected = {tuple(np.flatnonzero(np.array(group) == number).tolist()) for number in set(group)}

    found = groups_alike(looks)

    assert {tuple(one) for one in found} == {one for one in expected if len(one) > 1}
    assert all(one == sorted(one) for one in found)


def test_a_thousand_equal_looks_are_one_group():
    assert groups_alike([5] * 1000) == [list(range(1000))]
