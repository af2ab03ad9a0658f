import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.section import Range
from configs.synth import Local
from pipeline.changes.local import LocalDraw, apply_local, draw_local
from pipeline.changes.perlin import PerlinMask, perlin_mask
from tests.pipeline.strategies import generators, pairs_with_mask


def config(textures=1, low=0.2, high=1.0) -> Local:
    return Local(
        textures=textures,
        texture_folder=None,
        min_scale_log2=0,
        max_scale_log2=4,
        rotate_deg=90.0,
        threshold=0.3,
        texture_weight=Range(low=low, high=high),
    )


@given(pairs_with_mask(), generators(), st.floats(0.05, 1), st.integers(1, 3))
def test_a_local_change_touches_only_its_mask_and_not_its_inputs(case, rng, weight, textures):
    original, donor, _ = case
    inputs = original.copy(), donor.copy()
    draw = draw_local(rng, config(textures, weight, weight))

    changed, mask = apply_local(original, [donor] * textures, draw)

    assert (changed[~mask] == original[~mask]).all()
    assert (original == inputs[0]).all()
    assert (donor == inputs[1]).all()


@given(pairs_with_mask(), st.integers(0, 1000), st.integers(1, 3))
def test_the_same_draw_gives_the_same_bytes(case, seed, textures):
    original, donor, _ = case
    draws = [draw_local(np.random.default_rng([seed]), config(textures)) for _ in range(2)]

    (first, first_mask), (second, second_mask) = (apply_local(original, [donor] * textures, draw) for draw in draws)

    assert draws[0] == draws[1]
    assert (first == second).all()
    assert (first_mask == second_mask).all()


@pytest.mark.parametrize("textures", [1, 2, 3])
def test_the_regions_of_a_mask_take_their_textures_in_turn(textures):
    size, weight = (48, 64), 0.75
    perlin = PerlinMask(rows_log2=2, cols_log2=3, row0=7, col0=200, angle_deg=20.0)
    donors = [np.full((*size, 3), level, np.uint8) for level in (40, 120, 200)[:textures]]
    draw = LocalDraw(perlin, 0.3, ((),) * textures, weight)

    changed, mask = apply_local(np.full((*size, 3), 100, np.uint8), donors, draw)

    assert (mask == perlin_mask(perlin, size, 0.3)).all()
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert count > textures
    for region in range(1, count):
        level = weight * donors[region % textures][0, 0, 0] + (1 - weight) * 100
        assert (changed[labels == region] == level).all()
