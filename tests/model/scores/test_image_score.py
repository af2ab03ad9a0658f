import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.scores.image_score import image_scores

shapes = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
maps = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))


@given(maps)
def test_the_highest_pixel_bounds_the_mean_of_the_top(found):
    highest, top = image_scores(found), image_scores(found, "top")
    np.testing.assert_array_equal(highest, found.max(axis=(1, 2)))
    assert (top <= highest + 1e-5).all()
    assert (top >= found.mean(axis=(1, 2)) - 0.02).all() or min(found.shape[1:]) < 8


@given(maps, st.data())
def test_scores_do_not_depend_on_the_other_maps(found, data):
    place = data.draw(st.integers(0, len(found) - 1))
    for how in ("max", "top"):
        assert image_scores(found[place : place + 1], how)[0] == image_scores(found, how)[place]


def test_a_single_pixel_makes_no_anomaly_where_the_top_counts():
    speck, patch = np.zeros((2, 256, 256), np.float32)
    speck[100, 100], patch[100:130, 100:130] = 1, 0.8
    assert image_scores(np.stack([speck, patch])).tolist() == pytest.approx([1, 0.8])
    lone, found = image_scores(np.stack([speck, patch]), "top")
    assert lone < 0.01
    assert found == pytest.approx(0.8, abs=0.05)
