from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from configs.synth import Ground as GroundConfig
from configs.synth import Variation as VariationConfig
from pipeline.changes.ground import HERE, draw_ground
from pipeline.changes.variation import Elastic, Variation, draw_variation, vary
from tests.pipeline.changes.test_defects import photograph

CONFIG = VariationConfig(light=0.3, ramp=0.4, blur_px=1.5, noise_levels=8.0, jpeg_quality=40, elastic=0.02)
NONE = Variation("prompt", None, HERE, (1.0, 1.0, 1.0), (0.0, 0.0), 0.0, 0.0, 0, None, None)
PIECES = GroundConfig(drawn_share=0.5, piece_share=1.0)
GROUND = draw_ground(np.random.default_rng([0]), photograph(), PIECES.model_copy(update={"piece_share": 0.0}))
seeds = st.integers(0, 2**32 - 1)


def test_a_variation_of_nothing_is_the_picture():
    np.testing.assert_array_equal(vary(photograph(), NONE), photograph())


@given(seeds)
def test_it_varies_a_copy_always_alike_and_within_the_strengths(seed):
    drawn, again = (draw_variation(np.random.default_rng([seed]), CONFIG, None) for _ in range(2))
    assume(drawn is not None)
    picture = photograph()
    np.testing.assert_array_equal(vary(picture, drawn), vary(picture, again))
    np.testing.assert_array_equal(picture, photograph())
    assert drawn.place is None
    assert drawn.pose == HERE
    assert all(0.7 * 0.9 < gain < 1 / (0.7 * 0.9) for gain in drawn.gains)
    assert drawn.ramp[0] <= CONFIG.ramp
    assert drawn.noise_levels <= CONFIG.noise_levels
    assert drawn.blur_px <= CONFIG.blur_px
    assert drawn.elastic is None or drawn.elastic.amplitude <= CONFIG.elastic
    assert drawn.jpeg_quality is None or 40 <= drawn.jpeg_quality <= 95


@pytest.mark.parametrize(
    ("changes", "moves"),
    [
        ({"gains": (0.8, 0.8, 0.8)}, 10),
        ({"ramp": (0.4, 0.0)}, 5),
        ({"blur_px": 1.5}, 3),
        ({"noise_levels": 8.0}, 3),
        ({"jpeg_quality": 40}, 2),
        ({"elastic": Elastic(0.05, 3, 4)}, 5),
    ],
)
def test_each_effect_moves_pixels_and_leaves_the_picture_what_it_is(changes, moves):
    picture = photograph().astype(float)
    varied = vary(photograph(), replace(NONE, **changes)).astype(float)
    assert np.abs(varied - picture).mean() > moves
    assert np.corrcoef(varied.ravel(), picture.ravel())[0, 1] > 0.8


def test_grounds_are_shown_elsewhere_mostly_and_photographs_never():
    drawn = [draw_variation(np.random.default_rng([seed]), CONFIG, GROUND) for seed in range(200)]
    assert 0.75 < np.mean([each is not None and each.place is not None for each in drawn]) < 0.95
    assert {each.varied for each in drawn if each} == {"prompt", "query"}


def test_a_ground_without_a_piece_has_no_pose_and_so_shows_the_same_where_its_place_is_the_same():
    drawn = [draw_variation(np.random.default_rng([seed]), CONFIG, GROUND) for seed in range(200)]
    assert {each.pose for each in drawn if each} == {HERE}
    with_piece = replace(GROUND, piece=draw_ground(np.random.default_rng([1]), photograph(), PIECES).piece)
    assert HERE not in {draw_variation(np.random.default_rng([seed]), CONFIG, with_piece).pose for seed in range(50)}


def test_what_varies_nothing_is_no_variation():
    drawn = [draw_variation(np.random.default_rng([seed]), CONFIG, None) for seed in range(400)]
    assert 0 < sum(each is None for each in drawn) < 30
    for each in filter(None, drawn):
        effects = each.gains != (1.0, 1.0, 1.0), each.ramp != (0.0, 0.0), each.blur_px, each.noise_levels
        assert any((*effects, each.jpeg_quality, each.elastic))
