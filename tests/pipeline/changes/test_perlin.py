import noise
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.changes.perlin import LATTICE, PerlinMask, draw_perlin_mask, perlin_field, perlin_mask
from tests.pipeline.strategies import generators

sides = st.integers(1, 40)
scales = st.integers(0, 5).map(lambda log2: 2**log2)
nodes = st.integers(0, LATTICE - 1)


@settings(max_examples=40)
@given(sides, sides, scales, scales, nodes, nodes)
def test_field_equals_the_noise_package_called_point_by_point(height, width, rows, cols, row0, col0):
    field = perlin_field((height, width), (rows, cols), (row0, col0))

    expected = [
        [noise.pnoise2(col0 + c * cols / width, row0 + r * rows / height) for c in range(width)] for r in range(height)
    ]
    np.testing.assert_allclose(field, expected, atol=1e-5)


@given(generators(), sides, sides)
def test_field_is_finite_and_within_one(rng, height, width):
    draw = draw_perlin_mask(rng, (0, 5), 90.0)
    field = perlin_field((height, width), (2**draw.rows_log2, 2**draw.cols_log2), (draw.row0, draw.col0))

    assert np.isfinite(field).all()
    assert np.abs(field).max() <= 1


@given(generators(), sides, sides)
def test_a_higher_threshold_gives_a_smaller_mask(rng, height, width):
    draw = draw_perlin_mask(rng, (0, 5), 90.0)

    low, high = (perlin_mask(draw, (height, width), threshold) for threshold in (0.2, 0.5))

    assert not (high & ~low).any()


def test_the_default_threshold_gives_the_areas_of_draem_s():
    """DRAEM thresholds at 0.5 a noise of unit gradients times sqrt(2): a mean area of 4.9 % at 256 px (simulated)."""
    rng = np.random.default_rng(0)

    areas = [perlin_mask(draw_perlin_mask(rng, (0, 5), 90.0), (256, 256), 0.4).mean() for _ in range(200)]

    assert np.mean(areas) == pytest.approx(0.049, abs=0.01)


def test_no_rotation_leaves_the_field_as_it_is():
    mask = perlin_mask(PerlinMask(rows_log2=2, cols_log2=3, row0=7, col0=200, angle_deg=0.0), (48, 64), 0.3)

    assert (mask == (perlin_field((48, 64), (4, 8), (7, 200)) > 0.3)).all()
