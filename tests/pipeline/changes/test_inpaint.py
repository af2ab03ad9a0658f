import hashlib
from itertools import combinations, groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as mask_api

from configs.visible import Visible
from pipeline.changes.inpaint import (
    BYTES_AT_ONCE,
    Removal,
    _batches,
    dilate,
    draw_removals,
    plan_inpainted,
)
from pipeline.changes.removal import INPAINT, OBJECTS, remove
from pipeline.shards.format import shard_names
from pipeline.shards.opened import open_shard
from pipeline.source.index import Index, InstanceRow
from pipeline.source.run_lengths import bounding_box, decode_mask, union
from tests.pipeline import tiny
from tests.pipeline.conftest import make_source
from tests.pipeline.strategies import generators, masks, pairs_with_mask

VISIBLE = Visible(min_contrast=12, min_share=0.3)


def counts_of(mask):
    return mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


@given(pairs_with_mask(), st.integers(0, 3))
def test_a_removal_changes_nothing_outside_its_mask_nor_outside_the_hole(case, radius_px):
    image, filled, removed = case
    hole = dilate(removed, radius_px)

    changed, mask = remove(image, filled, removed, hole, VISIBLE)

    assert (changed[~mask] == image[~mask]).all()
    assert (changed[mask] == filled[mask]).all()
    assert not (mask & ~hole).any()


@given(masks(), st.integers(0, 4))
def test_dilation_grows_by_at_most_its_radius(mask, radius_px):
    grown = dilate(mask, radius_px)

    assert (grown | ~mask).all()
    rows, cols = np.nonzero(mask)
    for row, col in zip(*np.nonzero(grown), strict=True):
        assert np.maximum(abs(rows - row), abs(cols - col)).min() <= radius_px


def rows_of(found):
    return [
        InstanceRow(number, 1, crowd, int(mask.sum()), counts_of(mask)) for number, (mask, crowd) in enumerate(found)
    ]


SETS = st.lists(st.tuples(masks((8, 6)), st.booleans()), max_size=6)


def removing(variants, most, crowds=False, tries=10):
    return tiny.params(
        inpaint__area_share={"low": 0.1, "high": 0.5},
        inpaint__max_instances=most,
        inpaint__crowds=crowds,
        inpaint__variants_per_image=variants,
        inpaint__tries=tries,
    ).inpaint


@given(generators(), SETS, st.booleans(), st.integers(1, 8), st.sampled_from([1, 2, None]))
def test_drawn_removals_are_different_unions_of_allowed_area_and_as_many_as_there_are(
    rng, found, crowds, variants, most
):
    instances = rows_of(found)

    drawn = draw_removals(rng, instances, (8, 6), removing(variants, most, crowds, tries=1))

    unions = []
    for removed in drawn:
        ids = [instance.instance_id for instance in removed]
        assert ids == sorted(set(ids))
        assert most is None or len(ids) <= most
        assert crowds or not any(instance.is_crowd for instance in removed)
        unions.append(np.logical_or.reduce([found[number][0] for number in ids]))
        assert 0.1 <= unions[-1].mean() <= 0.5
    usable = [number for number, (_, crowd) in enumerate(found) if crowds or not crowd]
    possible = {
        counts_of(union)
        for size in range(1, (most or len(usable)) + 1)
        for ids in combinations(usable, size)
        if 0.1 <= (union := np.logical_or.reduce([found[number][0] for number in ids])).mean() <= 0.5
    }
    assert len({counts_of(union) for union in unions}) == len(drawn) == min(variants, len(possible))


@given(st.integers(0, 99), SETS)
def test_more_variants_only_add_to_fewer(seed, found):
    few, many = (
        draw_removals(np.random.default_rng(seed), rows_of(found), (8, 6), removing(variants, 3)) for variants in (2, 5)
    )

    assert many[: len(few)] == few


@given(st.lists(st.integers(1, 40), max_size=20))
def test_canvases_are_handed_over_in_order_and_few_enough_to_fit(megabytes):
    removals = [
        Removal(number, "all", (), None, None, np.broadcast_to(np.uint8(0), (size, 1 << 10, 1 << 10)), None)
        for number, size in enumerate(megabytes)
    ]

    batches = list(_batches(iter(removals)))

    assert [removal.image_id for batch in batches for removal in batch] == list(range(len(removals)))
    for batch in batches:
        assert len(batch) == 1 or sum(removal.canvas.nbytes for removal in batch) <= BYTES_AT_ONCE


@given(st.lists(masks((7, 5)), max_size=4))
def test_the_union_of_run_lengths_is_that_of_the_masks(found):
    expected = np.logical_or.reduce([np.zeros((7, 5), bool), *found])

    assert (decode_mask(union([counts_of(mask) for mask in found], 7, 5), 7, 5) == expected).all()


@given(masks((7, 5)))
def test_the_box_of_run_lengths_is_that_of_the_mask(mask):
    if mask.any():
        rows, cols = np.nonzero(mask)
        assert bounding_box(counts_of(mask), 7, 5) == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)


@pytest.mark.parametrize("fill_at", ["pair", "native"])
def test_what_was_filled_and_what_was_removed_are_kept_apart(tmp_path, fill_at):
    made = make_source(tmp_path, inpaint__fill_at=fill_at, size_px=[64, 96])
    made.make_inpainted()

    shard = open_shard(made.inpainted, "shard_0000")
    filled = 0
    for pair, hole, objects in zip(shard.pair[:], shard.mask[:] > 0, shard.extra[OBJECTS][:] > 0, strict=True):
        differs = (pair[0] != pair[1]).any(axis=2)
        assert not (differs & ~hole).any()
        assert not (objects & ~hole).any()
        filled += hole.any()
        if hole.any():
            assert (hole & ~objects).any(), "no rim around the objects"
    assert filled


def test_other_weights_of_lama_are_other_shards_wherever_they_lie(workspace, tmp_path):
    jobs = []
    for folder, content in (("here", b"first"), ("there", b"first"), ("here", b"second")):
        path = tmp_path / folder / "big-lama.pt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        config = workspace.params.inpaint.model_copy(update={"filler": "lama", "lama_weights": str(path)})
        params = workspace.params.model_copy(update={"inpaint": config})
        jobs.append(plan_inpainted(params, tmp_path, workspace.index)[1][0])

    assert jobs[0].fingerprint == jobs[1].fingerprint != jobs[2].fingerprint
    assert jobs[0].attributes["inputs"]["lama_sha256"] == hashlib.sha256(b"first").hexdigest()


def test_variants_of_an_image_stand_together_and_remove_its_own_instances(workspace):
    index = Index(workspace.index)
    found, removed = [], []
    for name in shard_names(workspace.inpainted):
        shard = open_shard(workspace.inpainted, name)
        ids = np.asarray(shard.image_id[:]).tolist()
        assert shard.entry.per_image == tuple(len(list(own)) for _, own in groupby(ids))
        found += ids
        removed += [
            (image_id, tuple(record["removed"]))
            for image_id, record in zip(ids, shard.attributes["records"], strict=True)
        ]

    assert list(dict.fromkeys(found)) == index.image_ids.tolist()
    assert max(found.count(image_id) for image_id in found) == 2
    assert len(set(removed)) == len(removed)
    owned = {
        int(index.image_ids[row]): {instance.instance_id for instance in index.instances(row)}
        for row in range(len(index))
    }
    assert all(set(instances) <= owned[image_id] for image_id, instances in removed)


def test_removed_objects_are_gone(workspace):
    """The tiny source has flat boxes on dark noise: where a box was removed, its colour is no longer there."""
    shard = open_shard(workspace.inpainted, "shard_0000")
    kinds = np.asarray(shard.kind[:])

    kinds = np.array(shard.kinds)[kinds]
    assert (kinds == INPAINT).any()
    for place in np.flatnonzero(kinds == INPAINT):
        original, changed = np.asarray(shard.pair[place]).astype(int)
        mask = np.asarray(shard.mask[place]) > 0
        assert np.abs(original - changed)[mask].max(axis=-1).mean() > 12
