import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.changes.visible import contrast, keep_visible
from tests.pipeline.strategies import pairs_with_mask

contrasts = st.integers(1, 255)
shares = st.floats(0, 1)


@given(pairs_with_mask(), contrasts, shares)
def test_outside_the_kept_mask_the_image_is_the_original_to_the_bit(case, min_contrast, min_share):
    original, changed, mask = case

    kept_image, kept = keep_visible(original, changed, mask, min_contrast, min_share)

    assert (kept_image[~kept] == original[~kept]).all()
    assert (kept_image[kept] == changed[kept]).all()
    assert not (kept & ~mask).any()


@given(pairs_with_mask(), contrasts, shares)
def test_every_kept_region_holds_a_visible_change(case, min_contrast, min_share):
    original, changed, mask = case

    kept_image, kept = keep_visible(original, changed, mask, min_contrast, min_share)

    count, labels = cv2.connectedComponents(kept.astype(np.uint8), connectivity=8)
    visible = contrast(original, kept_image) >= min_contrast
    for region in range(1, count):
        assert visible[labels == region].any()
        assert visible[labels == region].mean() >= min_share


@given(pairs_with_mask(), contrasts, shares)
def test_keeping_twice_is_keeping_once(case, min_contrast, min_share):
    original, changed, mask = case
    once_image, once = keep_visible(original, changed, mask, min_contrast, min_share)

    twice_image, twice = keep_visible(original, once_image, once, min_contrast, min_share)

    assert (twice == once).all()
    assert (twice_image == once_image).all()


def test_a_region_too_faint_is_taken_back_and_its_neighbour_stays():
    original = np.full((4, 9, 3), 100, np.uint8)
    changed = original.copy()
    changed[:, :3], changed[:, 6:] = 105, 150
    mask = np.zeros((4, 9), bool)
    mask[:, :3] = mask[:, 6:] = True

    image, kept = keep_visible(original, changed, mask, 12, 0.3)

    assert not kept[:, :6].any()
    assert kept[:, 6:].all()
    assert (image[:, :6] == 100).all()
