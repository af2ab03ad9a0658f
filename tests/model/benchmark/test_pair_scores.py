import math

import numpy as np
import pytest
import torch

from configs.train import Augment
from model.benchmark.baselines import pixel_difference
from model.benchmark.pair_scores import pair_batches, pair_sheet, score_pairs
from model.scores.metrics import score
from model.scores.results import ALL
from pipeline.shards.format import THE_ORIGINAL

CPU = torch.device("cpu")
SIZE = (32, 64)
AUGMENT = Augment.model_validate(
    {"rotate_deg": 20.0, "translate_share": 0.1, "scale": {"low": 0.9, "high": 1.1}, "jitter": "published"}
    | dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.1)
)


class Pairs:
    """Black pairs with a white square; every fourth is unchanged."""

    kind_names = ("unchanged", "inpaint", "paste", "local")

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        kind = index % 4
        pair, mask = np.zeros((2, *SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
        mask[8:20, 20:32] = kind > 0
        pair[1][mask > 0] = 255
        pair, mask = torch.from_numpy(pair), torch.from_numpy(mask)
        return {"pair": pair, "mask": mask, "kind": kind, "prompt_is": THE_ORIGINAL, "index": index}


def evaluate(augment=None, count=9, batch_size=4):
    methods = {"pixel_difference": pixel_difference}
    return score_pairs(methods, Pairs(count), "val", augment, 7, batch_size, CPU)


def test_a_method_that_sees_the_change_scores_one_on_aligned_pairs():
    (row,) = evaluate()
    assert (row.category, row.images, row.scores.p_ap, row.scores.aupro) == (ALL, 9, 1, 1)
    assert math.isnan(row.scores.i_auroc)  # nearly every pair is changed


def test_warped_pairs_are_scored_by_kind_and_unchanged_ones_are_not():
    assert [(row.category, row.images) for row in evaluate(AUGMENT)] == [
        (ALL, 9),
        ("inpaint", 2),
        ("paste", 2),
        ("local", 2),
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_views_are_those_of_the_pair_whatever_the_batches(batch_size):
    whole, parts = evaluate(AUGMENT, batch_size=4), evaluate(AUGMENT, batch_size=batch_size)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(
            list(one.scores.by_name().values()), list(other.scores.by_name().values()), atol=1e-3
        )


def test_pixels_out_of_sight_are_ignored():
    (batch,) = pair_batches(Pairs(9), range(9), 9, AUGMENT, 7)
    valid = batch.views.valid.squeeze(1).numpy()
    maps = pixel_difference(batch.views.prompt[None])(batch.views.query).numpy()
    wanted = score(maps, batch.views.mask.squeeze(1).numpy(), valid=valid)
    row = evaluate(AUGMENT, batch_size=9)[0]
    assert not valid.all()
    assert row.scores.p_ap == wanted.p_ap


def test_a_sheet_shows_the_views_that_are_scored():
    strips = pair_sheet(pixel_difference, Pairs(9), AUGMENT, 7, 4, CPU)
    labels = [strip.label.split("\n")[0] for strip in strips]
    assert sorted(labels) == ["inpaint", "local", "paste", "unchanged"]
    for strip in strips:
        shown = np.abs(strip.query.astype(float) - strip.prompt).mean(axis=2) / 255
        np.testing.assert_allclose(shown, strip.map, atol=0.01)
