import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.changes import texture
from pipeline.changes.texture import OPERATIONS, OPERATIONS_PER_TEXTURE, apply_texture, draw_texture
from tests.pipeline.strategies import generators, images


@given(images(), generators())
def test_a_texture_keeps_shape_and_dtype_and_leaves_its_input_alone(image, rng):
    before = image.copy()

    textured = apply_texture(image, draw_texture(rng))

    assert textured.shape == image.shape
    assert textured.dtype == np.uint8
    assert (image == before).all()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_runs_on_a_photograph_sized_image(name):
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(64, 48, 3), dtype=np.uint8)
    draw, apply = OPERATIONS[name]

    changed = apply(image, *draw(rng))

    assert changed.shape == image.shape
    assert changed.dtype == np.uint8


@given(generators())
def test_three_different_operations_are_drawn(rng):
    assert len({operation.name for operation in draw_texture(rng)}) == OPERATIONS_PER_TEXTURE


@given(images())
def test_neutral_numbers_change_nothing(image):
    assert (texture.gamma(image, 1.0, 1.0, 1.0) == image).all()
    assert (texture.sharpness(image, 1.0) == image).all()
    assert (texture.solarize(image, 256) == image).all()
    assert (texture.posterize(image, 8) == image).all()
    assert (texture.invert(texture.invert(image)) == image).all()
    assert (texture.rotate(image, 0.0) == image).all()


@given(images())
def test_posterize_keeps_the_highest_bits(image):
    assert (texture.posterize(image, 3) == image // 32 * 32).all()


@given(images())
def test_autocontrast_stretches_each_channel_to_the_full_range(image):
    stretched = texture.autocontrast(image, 0.0)

    for before, after in zip(np.moveaxis(image, 2, 0), np.moveaxis(stretched, 2, 0), strict=True):
        if before.min() < before.max():
            assert (after.min(), after.max()) == (0, 255)
        else:
            assert (after == before).all()


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9))), st.floats(0, 0.2))
def test_quantiles_from_a_histogram_are_those_of_numpy(channel, cutoff):
    shares = cutoff, 1 - cutoff

    np.testing.assert_allclose(texture._quantiles(channel, shares), np.quantile(channel, shares), atol=1e-9)
