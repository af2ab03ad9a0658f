import io
import math
import resource
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from configs.errors import Failure
from model.scores.metrics import NAMES, Scores, Tally, average_precision, score

SHAPE = (3, 5, 6)
# Few values make many ties; the two zeros are equal but have different bits.
tied_maps = hnp.arrays(np.float32, SHAPE, elements=st.sampled_from([-1.5, -0.0, 0.0, 0.25, 0.5, 1.0]))
fine_maps = hnp.arrays(np.float32, SHAPE, elements=st.floats(-2, 2, width=32))
any_maps = st.one_of(tied_maps, fine_maps)
any_masks = hnp.arrays(np.bool_, SHAPE)
mixed_masks = any_masks.filter(lambda mask: mask.any() and not mask.all())


def f1max(labels, scores):
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    return max(2 * p * r / (p + r) if p + r else 0.0 for p, r in zip(precision, recall, strict=True))


def regions_of(mask):
    """8-connected regions by walking from pixel to pixel."""
    left, regions = {tuple(pixel) for pixel in np.argwhere(mask)}, []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            row, col = edge.pop()
            region.add((row, col))
            near = {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge += near
        regions.append(tuple(np.array(sorted(region)).T))
    return regions


def brute_force_aupro(maps, masks, limit=0.3):
    """Threshold after threshold: the mean recall of the regions over FPR, by small trapezoids up to the limit."""
    regions = [(image, *region) for image, mask in enumerate(masks) for region in regions_of(mask)]
    points = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        flagged = maps >= threshold
        points.append((flagged[~masks].mean(), np.mean([flagged[region].mean() for region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


@given(any_maps, mixed_masks)
def test_pixel_scores_are_those_of_scikit_learn(maps, masks):
    scores, labels, flat = score(maps, masks), masks.ravel(), maps.ravel()
    assert scores.p_auroc == pytest.approx(reference.roc_auc_score(labels, flat))
    assert scores.p_ap == pytest.approx(reference.average_precision_score(labels, flat))
    assert scores.p_f1max == pytest.approx(f1max(labels, flat))
    assert average_precision(maps, masks) == scores.p_ap


@given(any_maps, any_masks.filter(lambda mask: len(set(mask.any(axis=(1, 2)))) == 2))
def test_image_scores_are_those_of_scikit_learn_on_the_highest_pixels(maps, masks):
    scores, labels, highest = score(maps, masks), masks.any(axis=(1, 2)), maps.max(axis=(1, 2))
    assert scores.i_auroc == pytest.approx(reference.roc_auc_score(labels, highest))
    assert scores.i_ap == pytest.approx(reference.average_precision_score(labels, highest))
    assert scores.i_f1max == pytest.approx(f1max(labels, highest))


@given(any_maps, mixed_masks)
def test_aupro_is_that_of_relabelling_at_every_threshold(maps, masks):
    assert score(maps, masks).aupro == pytest.approx(brute_force_aupro(maps, masks))


def published_aupro(maps, masks):
    """The published evaluator's way: the maps in [0, 1], 200 even thresholds, regions looked at again for each."""
    maps = maps.astype(np.float64)
    regions = [(image, *region) for image, mask in enumerate(masks) for region in regions_of(mask)]
    if maps.max() == maps.min():
        return math.nan
    points = []
    for step in range(200):
        flagged = maps > maps.min() + step * (maps.max() - maps.min()) / 200
        fpr, overlap = flagged[~masks].mean(), np.mean([flagged[region].mean() for region in regions])
        points += [(fpr, overlap)] if fpr < 0.3 else []
    fprs, overlaps = np.array(points).T.reshape(2, -1)
    if fprs.size < 2 or fprs.max() == fprs.min():
        return math.nan
    return reference.auc((fprs - fprs.min()) / (fprs.max() - fprs.min()), overlaps)


@given(any_maps, mixed_masks)
def test_aupro_by_200_thresholds_is_the_published_evaluators(maps, masks):
    found = score(maps, masks, aupro="200 thresholds").aupro
    assert found == pytest.approx(published_aupro(maps, masks), nan_ok=True)


@given(any_maps, mixed_masks, st.integers(1, 100), st.integers(1, 3))
def test_what_lies_in_the_temporary_file_changes_no_score(maps, masks, block, at_once):
    tally = Tally(block)
    for start in range(0, len(maps), at_once):
        tally.add(maps[start : start + at_once], masks[start : start + at_once])
    for aupro in ("exact", "200 thresholds"):
        assert tally.scores(aupro).by_name() == pytest.approx(score(maps, masks, aupro=aupro).by_name(), nan_ok=True)


@given(any_maps, any_maps, mixed_masks)
def test_a_tally_goes_on_after_it_was_asked(first, second, masks):
    tally = Tally(50)
    tally.add(first, masks)
    tally.scores()
    tally.add(second, masks)
    together = score(np.concatenate([first, second]), np.concatenate([masks, masks]))
    assert tally.scores().by_name() == pytest.approx(together.by_name(), nan_ok=True)


@given(any_maps, mixed_masks)
def test_a_tie_larger_than_a_piece_stays_together(maps, masks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.scores.totals.PIECE", 2)
        pieces = score(maps, masks).by_name()
    assert pieces == pytest.approx(score(maps, masks).by_name(), nan_ok=True)


@given(any_maps, mixed_masks)
def test_the_curve_goes_through_what_a_threshold_flags(maps, masks):
    tally = Tally()
    tally.add(maps, masks)
    points = set(zip(*tally.curve(points=1000), strict=True))
    for threshold in set(maps[masks].tolist()):
        flagged = maps >= threshold
        fpr, recall, precision = flagged[~masks].mean(), flagged[masks].mean(), masks[flagged].mean()
        assert any(np.allclose(point, (fpr, recall, precision)) for point in points)


def test_a_full_disk_is_one_line_that_says_what_to_do():
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", lambda buffering: full)
        with pytest.raises(Failure, match=r"No space left on device for 16 bytes in all of one .*; wanted .* TMPDIR"):
            Tally(block=4).add(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool))


def test_what_a_full_disk_took_in_part_is_written_on():
    class Slow(io.FileIO):
        def write(self, data):
            return super().write(data[:7])

    maps = np.random.default_rng(0).random(SHAPE, np.float32)
    masks = np.indices(SHAPE)[0] == 0
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", lambda buffering: Slow(file.name, "w+"))
        tally = Tally(block=10)
        tally.add(maps, masks)
    assert tally.scores().by_name() == pytest.approx(score(maps, masks).by_name())


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_tally_holds_one_descriptor_however_much_lies_on_disk():
    maps = np.random.default_rng(0).random((20, 10, 10), np.float32)
    masks = np.zeros(maps.shape, bool)
    masks[0, :3, :3] = True
    wanted = score(maps, masks).by_name()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = open_descriptors()
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 8, limits[1]))
    try:
        tally = Tally(block=10)  # some two hundred blocks
        tally.add(maps, masks)
        assert open_descriptors() == opened + 1
        for aupro in ("exact", "200 thresholds"):
            tally.scores(aupro)
        tally.curve()
        assert open_descriptors() == opened + 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert tally.scores().by_name() == pytest.approx(wanted)
    del tally
    assert open_descriptors() == opened


@given(any_maps, mixed_masks)
def test_every_score_depends_on_ranks_only(maps, masks):
    ranks = np.unique(maps, return_inverse=True)[1].reshape(SHAPE).astype(np.float32)
    assert score(ranks, masks).by_name() == pytest.approx(score(maps, masks).by_name(), nan_ok=True)


@given(any_maps, mixed_masks, any_masks)
def test_an_ignored_pixel_counts_for_nothing(maps, masks, valid):
    other = np.where(valid, maps, np.float32(9))
    scores = score(maps, masks, valid=valid, labels=masks.any(axis=(1, 2)))
    again = score(other, masks | ~valid, valid=valid, labels=masks.any(axis=(1, 2)))
    assert scores.by_name() == pytest.approx(again.by_name(), nan_ok=True)


@given(any_maps, mixed_masks)
def test_all_pixels_valid_is_the_same_as_no_valid_mask(maps, masks):
    scores = score(maps, masks, valid=np.ones_like(masks)).by_name()
    assert scores == pytest.approx(score(maps, masks).by_name(), nan_ok=True)


@given(mixed_masks)
def test_the_mask_itself_is_a_perfect_map(masks):
    scores = score(masks.astype(np.float32), masks)
    assert (scores.p_auroc, scores.p_ap, scores.p_f1max, scores.aupro) == pytest.approx((1, 1, 1, 1))


@given(any_maps, mixed_masks)
def test_inputs_are_left_as_they_were(maps, masks):
    before = maps.copy(), masks.copy()
    score(maps, masks)
    assert np.array_equal(maps, before[0])
    assert np.array_equal(masks, before[1])


def test_a_region_counts_the_same_whatever_its_size():
    masks, maps = np.zeros((1, 20, 20), bool), np.zeros((1, 20, 20), np.float32)
    masks[0, :10, :10] = masks[0, 15, 15] = True
    maps[0, 15, 15] = 1  # one of two regions is found, at FPR 0; the other one comes with everything else
    assert score(maps, masks).aupro == pytest.approx(0.5 + 0.5 * 0.15)


def test_pixels_touching_at_a_corner_are_one_region():
    masks, maps = np.zeros((1, 8, 8), bool), np.zeros((1, 8, 8), np.float32)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[0, 1, 2] = True
    maps[0, 0, 0] = 1  # a third of the region; as two regions it would be a half
    assert score(maps, masks).aupro == pytest.approx(1 / 3 + 2 / 3 * 0.15)


def test_regions_of_different_images_are_never_joined():
    masks, maps = np.zeros((2, 8, 8), bool), np.zeros((2, 8, 8), np.float32)
    masks[0, 0, 0] = True
    masks[1, :3, 0] = True
    maps[0, 0, 0] = 1
    assert score(maps, masks).aupro == pytest.approx(1 / 2 + 1 / 2 * 0.15)


def test_a_constant_map_scores_chance():
    masks = np.zeros((4, 10, 10), bool)
    masks[0, :4, :5] = True
    scores = score(np.full(masks.shape, 0.7, np.float32), masks)
    expected = Scores(0.5, 0.25, 0.4, 0.5, 0.05, 2 * 0.05 / 1.05, 0.15)
    assert scores.by_name() == pytest.approx(expected.by_name())


def test_an_inverted_map_is_not_flipped():
    masks = np.zeros((2, 4, 4), bool)
    masks[0] = True
    assert score(1 - masks.astype(np.float32), masks).i_auroc == 0


def test_the_published_aupro_of_a_constant_map_is_undefined():
    masks = np.eye(8, dtype=bool)[None]
    assert math.isnan(score(np.ones((1, 8, 8), np.float32), masks, aupro="200 thresholds").aupro)


@pytest.mark.parametrize("anomalous", [False, True])
def test_without_both_kinds_of_pixels_a_score_is_nan(anomalous):
    scores = score(np.random.default_rng(0).random(SHAPE, np.float32), np.full(SHAPE, anomalous))
    assert scores.by_name() == pytest.approx(dict.fromkeys(NAMES, math.nan), nan_ok=True)


def test_an_image_may_be_called_anomalous_without_an_anomalous_pixel():
    maps = np.arange(2, dtype=np.float32)[:, None, None] * np.ones(SHAPE[1:], np.float32)
    scores = score(maps, np.zeros((2, *SHAPE[1:]), bool), labels=np.array([False, True]))
    assert scores.i_auroc == 1
    assert math.isnan(scores.p_ap)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_map_that_is_no_number_is_an_error_that_names_the_image(value):
    maps, masks = np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool)
    maps[1, 2, 3] = value
    with pytest.raises(Failure, match=r"^screw/017\.png: the anomaly map holds NaN or infinity; wanted numbers$"):
        score(maps, masks, names=["a", "screw/017.png", "b"])
    with pytest.raises(Failure, match=r"^map 1: "):
        score(maps, masks)


@pytest.mark.parametrize(
    ("maps", "masks"),
    [(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)), (np.zeros((2, 4, 5), np.float32), np.zeros((2, 4, 4), bool))],
    ids=["float64", "another size"],
)
def test_maps_and_masks_must_fit(maps, masks):
    with pytest.raises(ValueError, match="wanted float32 and bool"):
        score(maps, masks)
