import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.section import Range
from configs.synth import Paste
from pipeline.changes.paste import Cutout, Placement, apply_paste, draw_placements
from tests.pipeline.strategies import generators, pairs_with_mask

CONFIG = Paste(
    max_instances=3,
    crowds=False,
    area_share=Range(low=0.0, high=1.0),
    scale=Range(low=0.5, high=2.0),
    rotate_deg=45.0,
    min_inside=0.5,
    feather_px=0,
)
STILL = {"flip": False, "scale": 1.0, "angle_deg": 0.0}
sides = st.floats(0.01, 1.0)
cutouts = st.builds(Cutout, st.just(1), sides, sides)


def mask_size(mask):
    return mask.shape[0], mask.shape[1]


@given(pairs_with_mask(), generators(), st.integers(0, 3))
def test_a_paste_touches_only_its_mask_and_not_its_inputs(case, rng, feather_px):
    original, donor, instance = case
    if not instance.any():
        return
    inputs = original.copy(), donor.copy(), instance.copy()
    placements = draw_placements(rng, [Cutout(5, 0.5, 0.3), Cutout(6, 0.1, 1.0)], mask_size(instance), CONFIG)
    placed = [(instance, placement) for placement in placements]

    changed, mask = apply_paste(original, donor, placed, feather_px)

    assert (changed[~mask] == original[~mask]).all()
    for before, after in zip(inputs, (original, donor, instance), strict=True):
        assert (before == after).all()


@given(pairs_with_mask())
def test_pasting_in_place_copies_the_instance(case):
    original, donor, instance = case
    if not instance.any():
        return
    rows, cols = np.flatnonzero(instance.any(1)), np.flatnonzero(instance.any(0))
    height, width = instance.shape
    # A single row or column has its middle at 0 whatever the share.
    row = (rows[0] + rows[-1]) / 2 / max(height - 1, 1)
    col = (cols[0] + cols[-1]) / 2 / max(width - 1, 1)

    changed, mask = apply_paste(original, donor, [(instance, Placement(1, **STILL, row=row, col=col))])

    assert (mask == instance).all()
    assert (changed[mask] == donor[mask]).all()


def test_flip_mirrors_left_to_right():
    donor = np.zeros((5, 5, 3), np.uint8)
    donor[2, 1:4] = np.array([[10], [20], [30]])
    instance = np.zeros((5, 5), bool)
    instance[2, 1:4] = True
    mirrored = Placement(1, flip=True, scale=1.0, angle_deg=0.0, row=0.5, col=0.5)

    changed, mask = apply_paste(np.zeros_like(donor), donor, [(instance, mirrored)])

    assert (mask == instance).all()
    assert changed[2, 1:4, 0].tolist() == [30, 20, 10]


def test_an_instance_may_be_cut_by_the_frame():
    donor, instance = np.full((8, 8, 3), 9, np.uint8), np.ones((8, 8), bool)

    changed, mask = apply_paste(np.zeros_like(donor), donor, [(instance, Placement(1, **STILL, row=0.0, col=0.0))])

    assert mask.any()
    assert not mask.all()
    assert (changed[mask] == 9).all()


@given(st.floats(-180, 180), st.floats(0.3, 2.0), st.booleans(), st.integers(0, 3))
def test_a_turned_and_scaled_object_is_pasted_whole(angle_deg, scale, flip, feather_px):
    """An oblong one of one colour: its area grows with the square of the scale, and no part of it is cut off."""
    donor, instance = np.full((200, 200, 3), 9, np.uint8), np.zeros((200, 200), bool)
    instance[20:40, 90:160] = True
    placement = Placement(1, flip, scale, angle_deg, row=0.5, col=0.5)

    changed, mask = apply_paste(np.zeros_like(donor), donor, [(instance, placement)], feather_px)

    outline_px = scale * 2 * (20 + 70)
    assert mask.sum() == pytest.approx(scale**2 * instance.sum(), abs=outline_px / 2 + 5)
    assert (changed[~mask] == 0).all()
    assert (changed[mask] > 0).all()


def test_a_feathered_edge_fades_in_from_the_mask_s_edge_inward_and_never_at_the_frame():
    original, donor = np.full((9, 12, 3), 30, np.uint8), np.full((9, 12, 3), 230, np.uint8)
    instance = np.zeros((9, 12), bool)
    instance[:, :8] = True
    in_place = Placement(1, **STILL, row=0.5, col=3.5 / 11)

    changed, mask = apply_paste(original, donor, [(instance, in_place)], feather_px=3)

    assert (mask == instance).all()
    for row in changed[..., 0]:
        assert row.tolist() == [230] * 5 + [180, 130, 80] + [30] * 4


@given(generators(), cutouts, st.floats(0, 0.99), st.tuples(st.integers(8, 40), st.integers(8, 40)))
def test_enough_of_each_side_of_a_pasted_box_lies_inside_the_image(rng, cutout, min_inside, size):
    config = CONFIG.model_copy(update={"min_inside": min_inside, "rotate_deg": 0.0})

    (placement,) = draw_placements(rng, [cutout], size, config)

    for middle, side in (
        (placement.row, placement.scale * cutout.height),
        (placement.col, placement.scale * cutout.width),
    ):
        inside = min(middle + side / 2, 1) - max(middle - side / 2, 0)
        assert inside >= min(min_inside * side, 0.5) - 1e-9
        assert 0 <= middle <= 1 or min_inside < 0.5


@given(generators(), sides, sides, st.sampled_from([(-1, 0), (1, 0), (0, -1), (0, 1), (-1, 1), (1, -1)]))
def test_what_an_edge_cuts_is_pasted_upright_at_that_edge_or_mirrored_at_the_other(rng, height, width, edges):
    (placement,) = draw_placements(rng, [Cutout(1, height, width, edges)], (48, 64), CONFIG)

    down, across = edges[0], -edges[1] if placement.flip else edges[1]
    assert placement.angle_deg == 0
    for edge, middle, side in (
        (down, placement.row, placement.scale * height),
        (across, placement.col, placement.scale * width),
    ):
        if edge < 0:
            assert middle - side / 2 == pytest.approx(-0.01)
        if edge > 0:
            assert middle + side / 2 == pytest.approx(1.01)


def test_a_box_is_measured_as_it_lies_after_its_rotation():
    """A flat box turned upright needs the room of its width over the height of the image."""
    config = CONFIG.model_copy(update={"min_inside": 1.0, "scale": Range(low=1.0, high=1.0), "rotate_deg": 90.0})
    rng = np.random.default_rng(0)

    placements = [draw_placements(rng, [Cutout(1, 0.0, 0.8)], (100, 100), config)[0] for _ in range(300)]

    upright = [placement for placement in placements if abs(placement.angle_deg) > 80]
    assert upright
    assert all(0.39 <= placement.row <= 0.61 for placement in upright)


@given(generators(), st.integers(1, 9))
def test_placements_name_different_instances_and_stay_in_range(rng, count):
    placements = draw_placements(rng, [Cutout(100 + number, 0.2, 0.2) for number in range(count)], (32, 64), CONFIG)

    names = [placement.instance_id for placement in placements]
    assert 1 <= len(names) <= min(3, count)
    assert len(set(names)) == len(names)
    for placement in placements:
        assert 0.5 <= placement.scale <= 2.0
        assert abs(placement.angle_deg) <= 45
        assert 0 <= placement.row <= 1
        assert 0 <= placement.col <= 1
