import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.changes.quality import (
    AREA_BINS,
    area_histogram,
    border_step,
    measure_pair,
    sample_pairs,
    summarise_quality,
)
from tests.pipeline.strategies import images, masks, pairs_with_mask


@given(pairs_with_mask())
def test_a_step_is_measured_between_neighbours_on_either_side_of_the_border(case):
    image, _, mask = case
    height, width = mask.shape
    steps = [
        np.abs(image[row, col].astype(int) - image[other].astype(int)).max()
        for row in range(height)
        for col in range(width)
        for other in ((row + 1, col), (row, col + 1))
        if other[0] < height and other[1] < width and mask[row, col] != mask[other]
    ]

    assert border_step(image, mask) == (pytest.approx(np.mean(steps)) if steps else None)


@given(images((6, 7)), masks((6, 7)))
def test_an_unchanged_image_shows_nothing_and_the_same_seam_before_and_after(image, mask):
    if mask.any():
        quality = measure_pair(image, image, mask, 12)

        assert quality.visible == 0
        assert quality.seam == quality.seam_before
        assert quality.area == mask.mean()


def test_the_measures_of_a_square_put_on_grey():
    original = np.full((20, 20, 3), 100, np.uint8)
    changed, mask = original.copy(), np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    changed[5:15, 5:15] = 160
    changed[6:8, 5:15] = 105  # a fifth of it can hardly be seen

    quality = measure_pair(original, changed, mask, 12)

    assert (quality.area, quality.visible, quality.seam_before) == (0.25, 0.8, 0.0)
    assert quality.seam == pytest.approx((36 * 60 + 4 * 5) / 40)


@given(st.lists(st.floats(1e-6, 1)))
def test_the_histogram_of_areas_holds_every_pair_once(areas):
    shares = area_histogram(areas)

    assert len(shares) == len(AREA_BINS)
    assert sum(shares) == pytest.approx(1 if areas else 0)


def test_an_area_is_counted_in_the_bin_whose_end_it_does_not_exceed():
    shares = area_histogram([1.0, 0.7, 0.6])

    assert AREA_BINS[-2:] == (0.666667, 1.0)
    assert shares[-2:] == [pytest.approx(1 / 3), pytest.approx(2 / 3)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(1, 60))
def test_a_sample_is_spread_over_all_shards_without_repeats(counts, count):
    total = sum(counts)
    if total == 0:
        return
    shards = [(f"shard_{number:04d}", pairs) for number, pairs in enumerate(counts)]
    every = [(name, place) for name, pairs in shards for place in range(pairs)]

    found = sample_pairs(shards, count)

    assert len(found) == len(set(found)) == min(count, total)
    numbers = [every.index(one) for one in found]
    assert numbers == sorted(numbers)
    assert numbers[0] == 0
    assert np.ptp([1, 1] if len(numbers) < 2 else np.diff(numbers)) <= 1


def test_a_mask_over_the_whole_image_has_no_seam_and_is_still_summed_up():
    image = np.zeros((4, 4, 3), np.uint8)
    whole = measure_pair(image, image + 50, np.ones((4, 4), bool), 12)

    figures = summarise_quality("paste", [whole])

    assert whole.seam is None
    assert (figures["pairs"], figures["visible share of mask"], figures["area within published"]) == (1, 1.0, 0.0)
