import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from configs.synth import Ground as GroundConfig
from pipeline.changes.ground import HERE, Ground, draw_ground, draw_pose, show_ground
from pipeline.changes.surface import TRIED_CUTS, Cut, Drawn, draw_cut, draw_material, show, unevenness
from tests.pipeline.changes.test_defects import photograph

CONFIG = GroundConfig(drawn_share=0.5, piece_share=0.5)
SIZE = (64, 80)
seeds = st.integers(0, 2**32 - 1)


def ground_of(seed, **config):
    return draw_ground(np.random.default_rng([seed]), photograph(), CONFIG.model_copy(update=config))


@settings(max_examples=40)
@given(seeds, st.integers(0, 2**31 - 1))
def test_a_place_of_a_ground_is_one_picture(seed, place):
    ground = ground_of(seed)
    one, again = (show_ground(ground, photograph(), SIZE, place) for _ in range(2))
    assert (one.dtype, one.shape) == (np.uint8, (*SIZE, 3))
    np.testing.assert_array_equal(one, again)


@given(seeds)
def test_a_ground_s_record_says_all_through_json(seed):
    adapter, ground = TypeAdapter(Ground), ground_of(seed)
    assert adapter.validate_python(json.loads(adapter.dump_json(ground))) == ground


@pytest.mark.parametrize("seed", range(12))
def test_another_place_is_another_picture_of_the_same_material(seed):
    material = draw_material(np.random.default_rng([seed]))
    here, there = (show(material, photograph(), (128, 128), place).astype(float) for place in (1, 2))
    assert (here != there).any(axis=2).mean() > 0.2
    np.testing.assert_allclose(here.mean(axis=(0, 1)), there.mean(axis=(0, 1)), atol=25)
    np.testing.assert_allclose(here.std(axis=(0, 1)), there.std(axis=(0, 1)), atol=20)


def test_a_cut_shows_nothing_but_its_part_of_the_photograph():
    source, cut = photograph(), draw_cut(np.random.default_rng([3]), photograph())
    top, left = int(cut.row * source.shape[0]), int(cut.col * source.shape[1])
    part = source[top : top + int(cut.height * source.shape[0]) + 8, left : left + int(cut.width * source.shape[1]) + 8]
    shown = show(cut, source, SIZE, place=9)
    assert {tuple(pixel) for pixel in shown.reshape(-1, 3)} <= {tuple(pixel) for pixel in part.reshape(-1, 3)}


def test_the_most_even_of_some_cuts_is_taken():
    source = np.full((96, 128, 3), 90, np.uint8)
    source[:, 64:] = photograph()[:, 64:]
    even = np.random.default_rng(0).integers(60, 120, (96, 64, 3), dtype=np.uint8)
    source[:, :64] = even
    cuts = [draw_cut(np.random.default_rng([seed]), source) for seed in range(20)]
    assert sum(cut.col + cut.width < 0.55 for cut in cuts) > 14, f"of {TRIED_CUTS} tried, one lies in the even half"


def test_a_flat_patch_is_no_texture():
    assert unevenness(np.full((32, 32, 3), 200, np.uint8)) == np.inf
    assert unevenness(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)) < 1


def test_shares_of_drawn_surfaces_and_of_pieces_are_the_parameters():
    for drawn_share, piece_share in ((0.0, 0.0), (1.0, 1.0)):
        grounds = [ground_of(seed, drawn_share=drawn_share, piece_share=piece_share) for seed in range(20)]
        assert {type(ground.base) for ground in grounds} == {Drawn if drawn_share else Cut}
        assert {ground.piece is None for ground in grounds} == {not piece_share}


def test_a_piece_moves_with_its_pose_and_covers_nothing_else():
    ground = next(found for seed in range(50) if (found := ground_of(seed)).piece is not None)
    bare = show_ground(replace(ground, piece=None), photograph(), SIZE, 5)
    here = show_ground(ground, photograph(), SIZE, 5)
    moved = show_ground(ground, photograph(), SIZE, 5, replace(HERE, across=0.2))
    assert (here != bare).any()
    assert (here != moved).any()
    np.testing.assert_array_equal(here[0, 0], bare[0, 0])


@given(seeds)
def test_a_pose_is_near_where_the_other_lay(seed):
    pose = draw_pose(np.random.default_rng([seed]))
    assert max(abs(pose.down), abs(pose.across)) <= 0.06
    assert abs(pose.angle_deg) <= 20
    assert 0.9 < pose.scale < 1.1
