"""Laws of every kind of defect: a new line in DEFECTS is tested as it is."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.visible import Visible
from pipeline.changes.change import KINDS, PairRecord, from_record, to_record
from pipeline.changes.defects import DEFECTS
from pipeline.changes.visible import keep_visible
from tests.pipeline.strategies import images

VISIBLE = Visible(min_contrast=12, min_share=0.3)
each_kind = pytest.mark.parametrize("kind", DEFECTS)
shapes = st.tuples(st.integers(12, 40), st.integers(12, 40))
seeds = st.integers(0, 2**32 - 1)


def photograph(height=96, width=128, seed=0):
    """Smooth colours with grain: something that every kind can change visibly."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse.astype(int) + rng.integers(-20, 20, coarse.shape), 0, 255).astype(np.uint8)


def changed_by(kind, seed, original, donors):
    return DEFECTS[kind].apply(original, donors, DEFECTS[kind].draw(np.random.default_rng([seed])))


@each_kind
@settings(max_examples=30)
@given(st.data())
def test_it_changes_its_mask_alone_and_none_of_its_inputs(kind, data):
    shape = data.draw(shapes)
    original = data.draw(images(shape))
    donors = [data.draw(images(shape)) for _ in range(DEFECTS[kind].donors)]
    before = original.copy(), [donor.copy() for donor in donors]

    changed, mask = changed_by(kind, data.draw(seeds), original, donors)

    assert (changed.dtype, changed.shape) == (np.uint8, original.shape)
    assert (mask.dtype, mask.shape) == (np.bool_, shape)
    assert (changed[~mask] == original[~mask]).all()
    np.testing.assert_array_equal(original, before[0])
    np.testing.assert_array_equal(donors, before[1])


@each_kind
@given(seeds)
def test_its_record_says_all_through_json(kind, seed):
    drawn = DEFECTS[kind].draw(np.random.default_rng([seed]))
    record = PairRecord(7, (3,) * DEFECTS[kind].donors, None, drawn, None)
    assert drawn.kind == kind
    assert from_record(json.loads(json.dumps(to_record(record)))) == record


@each_kind
def test_the_same_draw_gives_the_same_bytes_and_another_another(kind):
    original, donors = photograph(), [photograph(seed=1)]
    one, again, other = (changed_by(kind, seed, original, donors) for seed in (5, 5, 6))
    for first, second in zip(one, again, strict=True):
        np.testing.assert_array_equal(first, second)
    assert (one[0] != other[0]).any()


@each_kind
def test_most_draws_are_visible_and_small(kind):
    original, donors = photograph(), [photograph(seed=1)]
    shares = []
    for seed in range(60):
        changed, mask = changed_by(kind, seed, original, donors)
        shares.append(keep_visible(original, changed, mask, VISIBLE.min_contrast, VISIBLE.min_share)[1].mean())
    seen = [share for share in shares if share > 0]
    assert len(seen) > 24
    assert max(seen) < 0.6
    assert np.median(seen) < 0.12


def test_new_kinds_come_last_since_their_places_seed_the_draws():
    order = (
        "unchanged",
        "inpaint",
        "paste",
        "local",
        "stroke",
        "stain",
        "dent",
        "poisson",
        "repeat",
        "gloss",
        "cutpaste",
    )
    assert KINDS[: len(order)] == order


# Records are equal on every machine; a change here means that every shard with the kind is made anew.
GOLDEN = {
    "stroke": "d70d395b3089",
    "stain": "61924d4a4afc",
    "dent": "9d2bb16e2782",
    "poisson": "f89e51bb8f22",
    "repeat": "ab96d9c82010",
    "gloss": "fe413beff97e",
    "cutpaste": "362bb10e517b",
}


@each_kind
def test_draws_are_what_they_were(kind):
    drawn = [
        to_record(PairRecord(1, (), None, DEFECTS[kind].draw(np.random.default_rng([n])), None)) for n in range(20)
    ]
    assert hashlib.sha256(json.dumps(drawn).encode()).hexdigest()[:12] == GOLDEN[kind]
