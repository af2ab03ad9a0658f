import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.onenip.scoring import UNCALIBRATED, WINDOW_PX, Comparison, image_scores, middle, score_map

seeds = st.integers(0, 2**32)


def maps(seed, rows=20, columns=24):
    return torch.from_numpy(np.random.default_rng([seed]).random((2, 1, rows, columns), dtype=np.float32))


def found(seed, *, refined=True):
    return Comparison(torch.zeros(2, 3, 1, 1), 9 * maps(seed), maps(seed + 1) if refined else None)


@given(seeds)
def test_an_image_s_score_is_the_largest_mean_of_a_window(seed):
    some = maps(seed)
    means = [
        some[:, 0, row : row + WINDOW_PX, column : column + WINDOW_PX].mean(dim=(1, 2))
        for row in range(20 - WINDOW_PX + 1)
        for column in range(24 - WINDOW_PX + 1)
    ]
    torch.testing.assert_close(image_scores(some), torch.stack(means).amax(dim=0))


@given(seeds)
def test_the_score_of_a_map_of_one_window_is_its_mean_and_no_map_scores_above_its_maximum(seed):
    torch.testing.assert_close(image_scores(maps(seed, 16, 16)), maps(seed, 16, 16).mean(dim=(1, 2, 3)))
    assert (image_scores(maps(seed)) <= maps(seed).amax(dim=(1, 2, 3))).all()


def test_a_map_smaller_than_the_window_is_refused():
    with pytest.raises(BadRequest, match=r"score maps are \(2, 1, 15, 24\); wanted a whole window, 16 or more"):
        image_scores(maps(0, 15))


@given(seeds, st.floats(0, 1), st.floats(0.1, 9))
def test_alpha_moves_a_score_map_from_the_error_to_the_refined_map(seed, alpha, c):
    case, scale = found(seed), torch.tensor(c)
    ends = [score_map(case, end, scale) for end in (0.0, 1.0)]
    assert torch.equal(ends[0], case.error)
    torch.testing.assert_close(ends[1], c * case.refined)
    torch.testing.assert_close(score_map(case, alpha, scale), (1 - alpha) * ends[0] + alpha * ends[1])


def test_without_a_refiner_the_error_is_the_score():
    case = found(0, refined=False)
    assert score_map(case, 0.5, torch.tensor(UNCALIBRATED)) is case.error


@given(st.lists(seeds, min_size=1, max_size=4))
def test_the_middle_is_of_all_maps_however_they_come(some):
    everything = torch.cat([maps(seed) for seed in some])
    wanted = (everything.min() + everything.max()) / 2
    assert middle(maps(seed) for seed in some) == wanted
    assert middle(everything[i : i + 1] for i in reversed(range(len(everything)))) == wanted


def test_there_is_no_middle_of_nothing():
    with pytest.raises(BadRequest, match="no error maps"):
        middle([])
