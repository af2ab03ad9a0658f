import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from configs.section import Range
from configs.synth import Paste
from pipeline.paste import Placement, apply_paste, draw_placements
from tests.pipeline.strategies import generators, pairs_with_mask

CONFIG = Paste(
    max_instances=3, crowds=False, area_share=Range(low=0.0, high=1.0), scale=Range(low=0.5, high=2.0), rotate_deg=45.0
)
STILL = {"flip": False, "scale": 1.0, "angle_deg": 0.0}


@given(pairs_with_mask(), generators())
def test_a_paste_touches_only_its_mask_and_not_its_inputs(case, rng):
    original, donor, instance = case
    if not instance.any():
        return
    inputs = original.copy(), donor.copy(), instance.copy()
    placed = [(instance, placement) for placement in draw_placements(rng, [5, 6], CONFIG)]

    changed, mask = apply_paste(original, donor, placed)

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


@given(generators(), st.integers(1, 9))
def test_placements_name_different_instances_and_stay_in_range(rng, count):
    placements = draw_placements(rng, list(range(100, 100 + count)), CONFIG)

    names = [placement.instance_id for placement in placements]
    assert 1 <= len(names) <= min(3, count)
    assert len(set(names)) == len(names)
    for placement in placements:
        assert 0.5 <= placement.scale <= 2.0
        assert abs(placement.angle_deg) <= 45
        assert 0 <= placement.row <= 1
        assert 0 <= placement.col <= 1
