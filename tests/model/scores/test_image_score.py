import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model.onenip.scoring import image_scores as onenip_scores
from model.scores.image_score import image_scores

shapes = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
maps = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))


@given(maps)
def test_the_highest_pixel_bounds_the_mean_of_the_top(found):
    highest, top = image_scores(found), image_scores(found, "top")
    np.testing.assert_array_equal(highest, found.max(axis=(1, 2)))
    assert (top <= highest + 1e-5).all()


@given(maps, st.data())
def test_scores_do_not_depend_on_the_other_maps(found, data):
    place = data.draw(st.integers(0, len(found) - 1))
    for how in ("max", "top", "pooled"):
        assert image_scores(found[place : place + 1], how)[0] == image_scores(found, how)[place]


@given(
    hnp.arrays(
        np.float32, st.tuples(st.just(2), st.integers(16, 40), st.integers(16, 40)), elements=st.floats(0, 1, width=32)
    )
)
def test_pooled_is_onenip_s_own_score(found):
    expected = onenip_scores(torch.from_numpy(found).unsqueeze(1)).numpy()
    np.testing.assert_allclose(image_scores(found, "pooled"), expected, rtol=1e-5, atol=1e-6)


def test_scattered_specks_make_no_anomaly_where_the_top_counts_and_a_dim_patch_does():
    specks, patch = np.zeros((2, 256, 256), np.float32)
    specks[::20, ::20], patch[100:115, 100:115] = 1, 0.5  # 169 pixels, of 131 that count; and 225 together
    assert image_scores(np.stack([specks, patch])).tolist() == pytest.approx([1, 0.5])
    lone, found = image_scores(np.stack([specks, patch]), "top")
    assert lone == pytest.approx(1 / 16, abs=0.01)  # each shares its light with a window of 4 x 4
    assert found == pytest.approx(0.5, abs=0.01)
