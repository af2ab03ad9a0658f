import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs.errors import BadRequest
from model.inference.threshold import regions, threshold_of

values = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60)
rates = st.floats(0.001, 0.9)


@given(values, rates)
def test_no_more_than_the_rate_of_the_normal_images_lie_above(scores, rate):
    found = threshold_of(scores, scores, rate)
    above = sum(score > found.score for score in scores)
    assert above <= rate * len(scores)
    assert found.score in scores
    assert found.normals == len(scores)


@given(values, rates)
def test_what_is_vouched_for_is_what_was_asked_or_that_of_the_highest(scores, rate):
    found = threshold_of(scores, scores, rate)
    if found.vouched > rate + 1e-6:
        assert found.score == max(scores)
        assert found.vouched == pytest.approx(1 / (len(scores) + 1))


@given(values, rates, rates)
def test_a_higher_rate_never_raises_it(scores, first, second):
    low, high = sorted((first, second))
    assert threshold_of(scores, scores, high).score <= threshold_of(scores, scores, low).score


@pytest.mark.parametrize(
    ("count", "rate", "place"), [(99, 0.01, 99), (100, 0.01, 100), (199, 0.01, 198), (19, 0.1, 18)]
)
def test_places_by_hand(count, rate, place):
    assert threshold_of(range(1, count + 1), range(count), rate).score == place
    assert threshold_of(range(1, count + 1), range(count), rate).pixel == place - 1


def test_of_new_normal_images_no_more_than_the_rate_are_alarms():
    rng = np.random.default_rng(0)
    alarms = []
    for _ in range(400):
        scores = rng.gamma(2, size=39)
        alarms.append((rng.gamma(2, size=50) > threshold_of(scores, scores, 0.1).score).mean())
    assert np.mean(alarms) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("scores", "rate", "said"), [([0.5], 0.1, "1 normal images that are neither"), ([0, 1], 1.0, "share")]
)
def test_what_sets_no_threshold_is_told(scores, rate, said):
    with pytest.raises(BadRequest, match=said):
        threshold_of(scores, scores, rate)


@given(arrays(np.float32, (9, 11), elements=st.floats(0, 1, width=32)), st.floats(0, 1))
def test_regions_cover_what_lies_above_and_nothing_twice(shown, level):
    found = regions(shown, level)
    assert sum(region.area_px for region in found) == (shown > level).sum()
    assert [region.area_px for region in found] == sorted((region.area_px for region in found), reverse=True)
    for region in found:
        inside = shown[region.top : region.top + region.height, region.left : region.left + region.width]
        assert inside.shape == (region.height, region.width)
        assert level < region.highest <= inside.max()


def test_regions_by_hand():
    shown = np.zeros((6, 8), np.float32)
    shown[1:3, 1:4] = 0.6
    shown[3, 4] = 0.9  # touches across a corner
    shown[5, 7] = 0.7
    first, second = regions(shown, 0.5)
    assert (first.left, first.top, first.width, first.height, first.area_px) == (1, 1, 4, 3, 7)
    assert first.highest == pytest.approx(0.9)
    assert (second.left, second.top, second.area_px) == (7, 5, 1)
    assert regions(shown, 0.9) == []
