import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.masks import coverage, resize_mask, touched, window_of
from tests.pipeline.strategies import masks

sides = st.integers(1, 40)


def whole(mask, size):
    """The share of every pixel of the stretched picture."""
    shares = np.zeros(size)
    if mask.any():
        window, covered = coverage(mask, size)
        shares[window] = covered
    return shares


@given(masks(), sides, sides)
def test_a_stretched_mask_covers_the_same_share_of_the_picture(mask, height, width):
    covered = whole(mask, (height, width))

    assert covered.shape == (height, width)
    assert covered.mean() == pytest.approx(mask.mean(), abs=1e-9)
    assert covered.min() > -1e-9
    assert covered.max() < 1 + 1e-9


@given(masks(), st.integers(1, 5), st.integers(1, 5))
def test_shrinking_by_whole_numbers_is_the_mean_over_blocks(mask, down, across):
    height, width = (side // step for side, step in zip(mask.shape, (down, across), strict=True))
    if height and width:
        mask = mask[: height * down, : width * across]
        blocks = mask.reshape(height, down, width, across)

        assert whole(mask, (height, width)) == pytest.approx(blocks.mean(axis=(1, 3)), abs=1e-9)
        assert (touched(mask, (height, width)) == blocks.any(axis=(1, 3))).all()
        assert (resize_mask(mask, (height, width)) == (blocks.mean(axis=(1, 3)) >= 0.5)).all()


def test_a_photograph_s_mask_shrinks_as_opencv_averages_it():
    mask = cv2.circle(np.zeros((480, 640), np.uint8), (300, 200), 150, 255, -1)

    expected = cv2.resize(mask, (256, 256), interpolation=cv2.INTER_AREA) / 255
    assert whole(mask > 0, (256, 256)) == pytest.approx(expected, abs=1 / 255)


@given(masks(), sides, sides)
def test_the_order_in_memory_changes_nothing_and_the_input_stays(mask, height, width):
    before = mask.copy()

    for stretch in (resize_mask, touched):
        by_columns = stretch(np.asfortranarray(mask), (height, width))

        assert by_columns.flags.c_contiguous
        assert (by_columns == stretch(mask, (height, width))).all()
    assert (mask == before).all()


@given(masks(), sides, sides)
def test_masks_of_another_size_stay_empty_or_full(mask, height, width):
    half, any_of_it = resize_mask(mask, (height, width)), touched(mask, (height, width))

    assert (any_of_it | ~half).all()
    assert any_of_it.any() == mask.any()
    assert half.all() >= mask.all()


@given(masks())
def test_the_same_size_changes_nothing(mask):
    assert (resize_mask(mask, mask.shape) == mask).all()
    assert (touched(mask, mask.shape) == mask).all()


@given(masks())
def test_a_window_holds_the_mask_and_no_row_or_column_less_would(mask):
    window = mask[window_of(mask)]

    assert window.sum() == mask.sum()
    if mask.any():
        for edge in (window[0], window[-1], window[:, 0], window[:, -1]):
            assert edge.any()
    else:
        assert window.size == 0
