import csv
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from configs.errors import Failure
from configs.train import Augment
from model.baselines import pixel_difference
from model.benchmark import Category, read_mvtec
from model.evaluate import (
    ALL,
    MAX_PAIRS,
    MEAN,
    PairBatch,
    Predicted,
    Row,
    choose_pairs,
    draw_prompt,
    mean_rows,
    network,
    pair_batches,
    pixel_level,
    predict_category,
    predict_pairs,
    score_groups,
    score_whole,
)
from model.metrics import NAMES, Scores
from model.report import in_short, markdown, metrics_tree, write_csv
from model.sheets import category_strips, pair_strips

CPU = torch.device("cpu")
SIZE = (32, 64)
AUGMENT = Augment.model_validate(
    {"rotate_deg": 20.0, "translate_share": 0.1, "scale": {"low": 0.9, "high": 1.1}}
    | dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.1)
)


class Network(nn.Module):
    """Logits are high where the query is brighter than the prompt."""

    def __init__(self):
        super().__init__()
        self.encoded = []

    def encode(self, images):
        self.encoded.append(len(images))
        return (images.mean(dim=1, keepdim=True),)

    def compare(self, prompt, query):
        return 20 * (query[0] - prompt[0]) - 5


class Pairs:
    """Black pairs with a white square; every fourth is unchanged."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        kind = index % 4
        pair, mask = np.zeros((2, *SIZE, 3), np.uint8), np.zeros(SIZE, np.uint8)
        mask[8:20, 20:32] = kind > 0
        pair[1][mask > 0] = 255
        return {"pair": torch.from_numpy(pair), "mask": torch.from_numpy(mask), "kind": kind, "index": index}


@pytest.fixture
def category(tmp_path):
    """Grey images; the defective ones have a white square, larger than the size they are predicted at."""
    root = tmp_path / "plate"
    for part, count in (("train/good", 5), ("test/good", 3), ("test/spot", 4), ("ground_truth/spot", 4)):
        (root / part).mkdir(parents=True)
        for number in range(count):
            image = np.full((64, 128, 3), 100 if part != "ground_truth/spot" else 0, np.uint8)
            if part.endswith("spot"):
                image[16:32, 40 : 56 + 8 * number] = 255
            cv2.imwrite(str(root / part / f"{number:03}.png"), image)
    return read_mvtec(root)[0]


def predict(category, methods=None, batch_size=2):
    methods = methods or {"metauas": network(Network()), "pixel_difference": pixel_difference}
    return predict_category(methods, category, category.normals[0], SIZE, batch_size, CPU)


def predicted_pairs(augment=None, count=9, batch_size=4):
    batches = pair_batches(Pairs(count), choose_pairs(count), batch_size, augment, 7)
    return predict_pairs({"pixel_difference": pixel_difference}, batches, CPU)


def row(category, method, value, set_name="benchmark"):
    return Row(set_name, category, method, 10, Scores(*[value] * len(NAMES)))


@given(st.integers(0, 2**32), st.text(min_size=1), st.integers(1, 20))
def test_the_prompt_depends_on_seed_and_name_alone(seed, name, count):
    normals = tuple(Path(f"{number}.png") for number in range(count))
    assert draw_prompt(Category(name, normals, ()), seed) == draw_prompt(Category(name, normals, ()), seed) in normals


def test_another_seed_draws_another_prompt(category):
    assert len({draw_prompt(category, seed) for seed in range(30)}) == len(category.normals)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 16])
def test_the_batch_size_changes_no_map(category, batch_size):
    whole, parts = predict(category, batch_size=7), predict(category, batch_size=batch_size)
    for method in whole.maps:
        assert np.array_equal(whole.maps[method], parts.maps[method])
    assert np.array_equal(whole.masks, parts.masks)


def test_a_prompt_is_encoded_once_for_all_queries(category):
    model = Network()
    predict(category, {"metauas": network(model)}, batch_size=3)
    assert model.encoded == [1, 3, 3, 1]


def test_a_defect_that_a_method_sees_scores_one(category):
    predicted = predict(category)
    assert predicted.groups == ("good",) * 3 + ("spot",) * 4
    for result in score_whole("benchmark", category.name, predicted):
        assert result.images == 7
        assert result.scores.by_name() == pytest.approx(dict.fromkeys(NAMES, 1.0))


def test_the_networks_map_is_a_probability(category):
    maps = predict(category).maps["metauas"]
    assert maps.shape == (7, *SIZE)
    assert maps.dtype == np.float32
    assert (maps >= 0).all()
    assert (maps <= 1).all()


def test_an_anomalous_image_stays_so_if_its_mask_vanishes(category):
    thin = np.zeros((64, 128), np.uint8)
    thin[0, 0] = 255  # the pixel right and below is nearest to the centre
    query = category.queries[-1]
    cv2.imwrite(str(query.mask_path), thin)
    predicted = predict(category)
    assert predicted.labels.tolist() == [False] * 3 + [True] * 4
    assert not predicted.masks[-1].any()


def test_a_map_of_nan_names_image_and_method(category):
    def broken(prompts):
        return lambda queries: torch.full((len(queries), *SIZE), math.nan)

    with pytest.raises(Failure, match=r"plate/test/good/000\.png \(broken\): the anomaly map holds NaN"):
        score_whole("benchmark", "plate", predict(category, {"broken": broken}))


def test_aligned_pairs_are_solved_by_the_difference_of_pixels():
    (whole,) = score_whole("val_aligned", ALL, predicted_pairs())
    assert whole.scores.p_ap == whole.scores.i_auroc == 1
    assert whole.images == 9


def test_pairs_are_scored_by_kind_and_unchanged_ones_are_not():
    rows = score_groups("val_aligned", predicted_pairs())
    assert [(result.category, result.images) for result in rows] == [("inpaint", 2), ("local", 2), ("paste", 2)]


def test_views_are_those_of_the_pair_whatever_the_batches():
    whole, parts = predicted_pairs(AUGMENT, batch_size=9), predicted_pairs(AUGMENT, batch_size=2)
    assert np.array_equal(whole.masks, parts.masks)
    assert np.array_equal(whole.valid, parts.valid)
    np.testing.assert_allclose(whole.maps["pixel_difference"], parts.maps["pixel_difference"], atol=1e-6)
    assert not whole.valid.all()


def test_pixels_out_of_sight_are_ignored():
    (batch,) = pair_batches(Pairs(4), range(4), 4, None, 0)
    hidden = batch.views.mask.clone()
    hidden[:, :, :, :26] = False
    views = type(batch.views)(batch.views.prompt, batch.views.query, batch.views.mask, ~hidden)
    predicted = predict_pairs(
        {"pixel_difference": pixel_difference}, [PairBatch(views, batch.kinds, batch.indices)], CPU
    )
    (whole,) = score_whole("val_warped", ALL, predicted)
    assert whole.scores.p_ap == 1
    assert not (predicted.masks & ~predicted.valid).any()


@given(st.integers(1, 5000))
def test_pairs_are_chosen_evenly(count):
    places = choose_pairs(count)
    assert len(set(places)) == len(places) == min(count, MAX_PAIRS)
    assert places[0] == 0
    assert places[-1] == count - 1 or count == 1
    steps = np.diff(places)
    assert steps.size == 0 or steps.max() - steps.min() <= 1


def test_the_mean_is_over_categories_and_undefined_if_one_is():
    rows = [
        row("nut", "metauas", 0.5),
        row("nut", "other", math.nan),
        row("screw", "metauas", 1.0),
        row("screw", "other", 1.0),
    ]
    first, second = mean_rows(rows)
    assert (first.category, first.method, first.images, first.scores.p_ap) == (MEAN, "metauas", 20, 0.75)
    assert second.method == "other"
    assert math.isnan(second.scores.aupro)


def test_strips_show_what_was_scored(category):
    predicted = predict(category)
    strips = category_strips(category, category.normals[0], predicted, "metauas", SIZE, 3)
    groups = [strip.label.split("\n")[0] for strip in strips]
    assert sorted(groups) == ["good", "good", "spot"]
    for strip, group in zip(strips, groups, strict=True):
        assert strip.truth.any() == (group == "spot")
        assert (strip.query[strip.truth] == 255).all()
        assert strip.label.endswith(f"score {strip.map.max():.2f}")


def test_strips_of_pairs_show_the_views_that_were_scored():
    indices = [3, 5, 6, 7]
    predicted = predict_pairs(
        {"pixel_difference": pixel_difference}, pair_batches(Pairs(9), indices, 2, AUGMENT, 7), CPU
    )
    strips = pair_strips(Pairs(9), indices, predicted, "pixel_difference", AUGMENT, 7, 3)
    labels = [strip.label.split("\n")[:2] for strip in strips]
    assert sorted(kind for kind, _ in labels) == ["inpaint", "local", "paste"]
    assert {kind: pair for kind, pair in labels if kind != "local"} == {"inpaint": "pair 5", "paste": "pair 6"}
    for strip in strips:
        shown = np.abs(strip.query.astype(float) - strip.prompt).mean(axis=2) / 255
        np.testing.assert_allclose(shown, strip.map, atol=0.01)


ROWS = [
    row("nut", "metauas", 0.1234567),
    row("nut", "patchcore", 0.5),
    row(MEAN, "metauas", math.nan),
    row(MEAN, "patchcore", 0.25),
    row(ALL, "metauas", 0.75, "val_warped"),
    row(ALL, "patchcore", 0.5, "val_warped"),
    row("paste", "metauas", 0.625, "val_warped"),
    row("paste", "patchcore", 0.5, "val_warped"),
]


def test_metrics_are_rounded_numbers_and_null_where_undefined():
    tree = json.loads(json.dumps(metrics_tree(ROWS, "metauas"), allow_nan=False))
    pixels = ("P-AUROC", "P-AP", "P-F1max", "AUPRO")
    assert tree == {
        "benchmark": {"nut": dict.fromkeys(NAMES, 0.123457), "mean": dict.fromkeys(NAMES)},
        "val_warped": dict.fromkeys(pixels, 0.75) | {"P-AP paste": 0.625},
        "baseline": {
            "patchcore": {"benchmark": dict.fromkeys(NAMES, 0.25), "val_warped": dict.fromkeys(pixels, 0.5)},
        },
    }


def test_the_csv_has_a_line_for_each_row(tmp_path):
    write_csv(tmp_path / "scores.csv", ROWS)
    with (tmp_path / "scores.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(ROWS)
    assert list(lines[0]) == ["set", "category", "method", "images", *NAMES]
    assert lines[0]["AUPRO"] == "0.123457"
    assert lines[2]["AUPRO"] == ""


def test_the_markdown_table_marks_the_best_method():
    text = markdown(ROWS)
    assert f"| nut | metauas | 10 |{' 12.3 |' * 7}" in text
    assert f"| nut | patchcore | 10 |{' **50.0** |' * 7}" in text
    assert f"| mean | metauas | 10 |{' - |' * 7}" in text
    assert f"| paste | metauas | 10 |{' **62.5** |' * 7}" in text


def test_the_rows_of_pairs_keep_their_pixel_scores_alone():
    for row, kept in zip(ROWS, pixel_level(ROWS), strict=True):
        before, after = row.scores.by_name(), kept.scores.by_name()
        assert all(math.isnan(after[name]) for name in NAMES if name.startswith("I-"))
        np.testing.assert_equal([after[name] for name in NAMES[3:]], [before[name] for name in NAMES[3:]])


def test_the_short_line_tells_of_the_network_on_each_whole_set():
    line = in_short(ROWS, "metauas")

    assert line.startswith("benchmark P-AP")
    assert "patchcore" not in line
    assert "\n" not in line


def test_nothing_is_scored_of_a_set_without_anomalies():
    maps = {"pixel_difference": np.zeros((2, *SIZE), np.float32)}
    empty = np.zeros((2, *SIZE), bool)
    predicted = Predicted(maps, empty, ~empty, np.zeros(2, bool), ("unchanged",) * 2, ("a", "b"))
    assert score_groups("val_aligned", predicted) == []
    (whole,) = score_whole("val_aligned", ALL, predicted)
    assert math.isnan(whole.scores.p_ap)
