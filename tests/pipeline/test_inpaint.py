import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.visible import Visible
from pipeline.fillers import make_filler
from pipeline.index import Index, InstanceRow
from pipeline.inpaint import dilate, draw_removal, remove
from pipeline.shards import INPAINT, open_shard, shard_names
from tests.pipeline import tiny
from tests.pipeline.strategies import generators, masks, pairs_with_mask

VISIBLE = Visible(min_contrast=12, min_share=0.3)


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


@given(generators(), st.lists(masks((8, 8)), max_size=6))
def test_a_drawn_removal_is_a_union_of_allowed_area_of_at_most_k_instances(rng, found):
    config = tiny.params(inpaint__area_share={"low": 0.1, "high": 0.5}, inpaint__max_instances=2).inpaint
    instances = [InstanceRow(number, 1, False, int(mask.sum()), b"") for number, mask in enumerate(found)]

    removal = draw_removal(rng, instances, found, config)

    if removal is not None:
        assert 1 <= len(removal.instance_ids) <= 2
        assert (removal.mask == np.logical_or.reduce([found[number] for number in removal.instance_ids])).all()
        assert 0.1 <= removal.mask.mean() <= 0.5


def test_variants_of_an_image_stand_in_order_and_remove_its_own_instances(workspace):
    index = Index(workspace.index)
    expected = [
        image_id
        for split in ("train", "val")
        for row in index.rows(split)
        for image_id in [int(index.image_ids[row])] * 2
    ]
    found, removed = [], []
    for name in shard_names(workspace.inpainted):
        shard = open_shard(workspace.inpainted, name)
        found += np.asarray(shard.image_id[:]).tolist()
        removed += [record["removed"] for record in shard.attributes["records"]]

    assert found == expected
    owned = {
        int(index.image_ids[row]): {instance.instance_id for instance in index.instances(row)}
        for row in range(len(index))
    }
    assert all(set(instances) <= owned[image_id] for image_id, instances in zip(found, removed, strict=True))


def test_removed_objects_are_gone(workspace):
    """The tiny source has flat boxes on dark noise: where a box was removed, its colour is no longer there."""
    shard = open_shard(workspace.inpainted, "shard_0000")
    kinds = np.asarray(shard.kind[:])

    assert (kinds == INPAINT).any()
    for place in np.flatnonzero(kinds == INPAINT):
        original, changed = np.asarray(shard.pair[place]).astype(int)
        mask = np.asarray(shard.mask[place]) > 0
        assert np.abs(original - changed)[mask].max(axis=-1).mean() > 12


@pytest.mark.parametrize("filler", ["opencv_telea", "opencv_ns"])
def test_opencv_fillers_fill_from_around_the_hole(filler):
    image = np.full((32, 32, 3), 90, np.uint8)
    image[12:20, 12:20] = 250
    hole = np.zeros((32, 32), bool)
    hole[11:21, 11:21] = True

    (filled,) = make_filler(tiny.params(inpaint__filler=filler).inpaint)([image], [hole])

    assert np.abs(filled.astype(int) - 90).max() <= 3
