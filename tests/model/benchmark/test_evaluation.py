import json

import cv2
import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.benchmark.baselines import pixel_difference
from model.benchmark.cost import measure_cost
from model.benchmark.evaluation import Evaluation
from model.benchmark.look import methods_of
from model.benchmark.methods import Once, at_scale, averaged, network_method
from model.benchmark.protocols import read_seen
from model.images import read_image, shrink_by
from model.layouts import read_benchmark
from model.scores.metrics import NAMES, score
from tests.model.tiny_benchmark import SIZE, Network, make_category, settings

CPU = torch.device("cpu")


@pytest.fixture
def root(tmp_path):
    make_category(tmp_path / "plate")
    return tmp_path


def evaluate(root, model=None, **changes):
    return Evaluation(model or Network(), settings(root, **changes), 0, CPU).run()


def row_of(outcome, method="metauas", category="plate"):
    (row,) = [row for row in outcome.rows if (row.method, row.category) == (method, category)]
    return row


@pytest.mark.parametrize("protocol", ["exact", "paper"])
def test_a_defect_that_a_method_sees_scores_one(root, protocol):
    row = row_of(evaluate(root, protocol=protocol))
    assert row.images == 7
    assert row.scores.i_auroc == row.scores.i_ap == row.scores.i_f1max == 1
    assert row.scores.p_auroc > 0.99
    assert row.deviation is None


def test_scores_are_those_of_all_maps_at_once(root):
    model, (category,) = Network(), read_benchmark("mvtec", root)
    evaluation = Evaluation(model, settings(root), 0, CPU)
    seen = [read_seen(query, SIZE, "areas") for query in category.queries]
    prompt = torch.from_numpy(read_image(evaluation.drawn[0]["plate"][0])[::2, ::2] / 255).float()
    queries = torch.from_numpy(np.stack([one.image for one in seen])).permute(0, 3, 1, 2)
    maps = network_method(model)(prompt.permute(2, 0, 1)[None, None])(queries).detach().numpy()

    wanted = score(maps, np.stack([one.mask for one in seen]))

    assert row_of(evaluation.run()).scores.by_name() == pytest.approx(wanted.by_name(), abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_the_batch_size_changes_no_score(root, batch_size):
    whole, parts = (evaluate(root, batch_size=size, seeds=2).rows for size in (7, batch_size))
    assert [row.scores for row in whole] == [row.scores for row in parts]


def test_prompts_and_queries_are_encoded_once_for_all_methods_and_prompts(root):
    model = Network()
    evaluation = Evaluation(model, settings(root, seeds=3, sheet_rows=1), 0, CPU)
    model.encoded.clear()
    predicted = evaluation._predict(evaluation.categories[0], evaluation._runs(evaluation.categories[0])[0], [], None)
    with torch.inference_mode():
        list(predicted)
    assert model.encoded == [1] * 6 + [3, 3, 1]  # three prompts for network and patchcore; seven queries


def test_scores_over_several_prompts_are_mean_and_sample_deviation(root):
    many = row_of(evaluate(root, seeds=3), "pixel_difference")
    repeated = [Evaluation(Network(), settings(root, seeds=3), 0, CPU).drawn[place]["plate"][0] for place in range(3)]
    single = []
    for place, path in enumerate(repeated):
        file = root / f"oneprompt_seed{place}.json"
        file.write_text(json.dumps({"plate": {"filename": path.relative_to(root).as_posix()}}))
        single.append(row_of(evaluate(root, prompts=[str(file)]), "pixel_difference").scores.p_ap)
    assert len(set(repeated)) > 1
    assert many.scores.p_ap == pytest.approx(np.mean(single))
    assert many.deviation.p_ap == pytest.approx(np.std(single, ddof=1))


def test_the_mean_is_over_categories_and_its_deviation_over_prompts(root):
    make_category(root / "bowl", grey=30)
    outcome = evaluate(root, seeds=2)
    rows = [row_of(outcome, "pixel_difference", name) for name in ("bowl", "plate", "mean")]
    assert rows[2].scores.p_ap == pytest.approx((rows[0].scores.p_ap + rows[1].scores.p_ap) / 2)
    assert rows[2].images == 14
    assert rows[2].deviation is not None


def test_each_variant_stands_in_the_table(root):
    make_category(root / "bowl", grey=30)
    outcome = evaluate(root, variants=["one", "best", "pool"])
    methods = {row.method for row in outcome.rows}
    assert methods == {"metauas", "metauas*", "metauas pool", "pixel_difference", "patchcore"}
    assert row_of(outcome, "metauas*").scores.i_auroc == 1
    assert outcome.network == "metauas"
    assert evaluate(root, variants=["best"]).network == "metauas*"


def test_the_published_matches_are_used_where_they_are_given(root, tmp_path_factory):
    lists = tmp_path_factory.mktemp("lists")
    (category,) = read_benchmark("mvtec", root)
    for split, paths in (("train", category.normals), ("test", [query.path for query in category.queries])):
        lines = []
        for path in paths:
            name, anomalous = path.relative_to(root).as_posix(), path.parent.name == "spot"
            mask = name.replace("test", "ground_truth") if anomalous else None
            lines.append({"filename": name, "label": int(anomalous), "clsname": "plate", "maskname": mask})
        (lists / f"{split}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    best = [{query.path.relative_to(root).as_posix(): ["plate/train/good/004.png"]} for query in category.queries]
    (lists / "test-train-top10pair-eb4.json").write_text("".join(json.dumps(line) + "\n" for line in best))

    evaluation = Evaluation(Network(), settings(root, variants=["best"], lists=str(lists)), 0, CPU)

    _, (run,) = evaluation._runs(evaluation.categories[0])
    assert set(run.choice) == {(root / "plate/train/good/004.png",)}


def test_patchcore_s_map_is_averaged_in_where_that_is_asked_for(root):
    wanted = settings(root, variants=["one+patchcore"], scales=[1.0, 0.5])
    methods = methods_of(Network(), wanted)
    prompts, queries = torch.rand(1, 1, 3, 64, 128), torch.rand(2, 3, 64, 128)
    maps = {name: method(prompts)(queries) for name, method in methods.items()}
    torch.testing.assert_close(maps["metauas+patchcore"], (maps["metauas"] + 2 * maps["patchcore"]) / 2)

    outcome = evaluate(root, variants=["one+patchcore"])
    assert outcome.network == "metauas+patchcore"
    assert row_of(outcome, method="metauas+patchcore").scores.i_auroc == 1
    assert "metauas+patchcore" in [cost.method for cost in outcome.costs]


def test_several_shots_are_averaged(root):
    outcome = evaluate(root, shots=5)
    assert row_of(outcome).scores.i_auroc == 1
    assert any("5 prompts a category (mean of maps)" in note for note in outcome.notes)


def test_below_a_half_nothing_is_flipped_and_the_paper_protocol_says_so(root):
    model = Network()
    model.scale.data = -model.scale.data
    for protocol, told in (("exact", 0), ("paper", 1)):
        outcome = evaluate(root, model, protocol=protocol)
        assert row_of(outcome).scores.p_auroc < 0.01
        flips = [note for note in outcome.notes if "would have printed" in note and "metauas" in note]
        assert len(flips) == told
    assert flips[0].startswith("plate, metauas, prompt 1: P-AUROC 0.0")
    assert flips[0].endswith(" is below 50; the published evaluator would have printed 100.0.")


def test_an_anomalous_image_stays_so_if_its_mask_vanishes(root):
    thin = np.zeros((64, 128), np.uint8)
    thin[0, 0] = 255  # the pixel right and below is nearest to the centre
    cv2.imwrite(str(root / "plate/ground_truth/spot/000.png"), thin)
    assert row_of(evaluate(root)).scores.i_auroc == 1


def test_without_masks_there_are_image_scores_only(tmp_path):
    make_category(tmp_path)
    (tmp_path / "train/good").rename(tmp_path / "normal")
    (tmp_path / "test").rename(tmp_path / "query")
    row = row_of(evaluate(tmp_path, layout="folders"), category=tmp_path.name)
    assert row.scores.i_auroc == 1
    assert np.isnan([row.scores.p_auroc, row.scores.p_ap, row.scores.p_f1max, row.scores.aupro]).all()


def test_the_benchmark_is_asked_for_images_of_the_size_they_are_looked_at(root, monkeypatch):
    asked = []

    def read(layout, root, lists, side_px):
        asked.append(side_px)
        return read_benchmark(layout, root, lists)

    monkeypatch.setattr("model.benchmark.evaluation.read_benchmark", read)
    Evaluation(Network(), settings(root), 0, CPU)
    Evaluation(Network(), settings(root, size_px=[128, 96]), 0, CPU)
    assert asked == [64, 128]


def test_a_limit_keeps_every_kind(root):
    outcome = evaluate(root, limit=3)
    assert row_of(outcome).images == 3
    assert not np.isnan(row_of(outcome).scores.i_auroc)
    assert any(note.startswith("At most 3 queries") for note in outcome.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": ["bowl"]}, "no category bowl; there are plate"),
        ({"prompts": ["x.json"], "shots": 2}, "shots = 2, but a file of prompts names one image a category"),
        (
            {"prompts": ["x.json"], "seeds": 5},
            r"seeds = 5, but evaluate\.prompts names 1 files, .*; set seeds to 1, or",
        ),
        (
            {"variants": ["best+clip"]},
            r"best\+clip: no CLIP weights \(evaluate\.clip_weights = None\); download vit_b_16",
        ),
        ({"shots": 6}, "plate: wanted 6 prompts, but it has 5 normal images"),
    ],
)
def test_a_wrong_request_is_one_line(root, changes, message):
    with pytest.raises(BadRequest, match=message):
        evaluate(root, **changes)


def test_a_checkpoint_without_a_size_needs_one(root):
    model = Network()
    model.size = None
    with pytest.raises(BadRequest, match=r"does not say at which size it was trained; set evaluate\.size_px"):
        evaluate(root, model)
    assert row_of(evaluate(root, model, size_px=[32, 64])).scores.i_auroc == 1


def test_another_size_than_was_learned_at_is_told(root):
    assert not any("learned at" in note for note in evaluate(root).notes)
    assert "The network learned at 64 x 32 px." in evaluate(root, size_px=[64, 128]).notes


def test_a_map_that_is_no_number_names_image_and_method(root):
    model = Network()
    model.scale.data.fill_(torch.nan)
    with pytest.raises(Failure, match=r"plate/test/good/000\.png \(metauas\): the anomaly map holds NaN"):
        evaluate(root, model)


def test_sheets_show_what_was_scored(root):
    outcome = evaluate(root, sheet_rows=4)
    assert set(outcome.sheets) == {"plate", "best cases", "worst cases"}
    for strip in (strip for strips in outcome.sheets.values() for strip in strips):
        assert strip.truth.any() == strip.label.startswith("spot")
        assert (strip.query[strip.truth] == 255).all()
        assert strip.label.endswith(f"score {strip.map.max():.2f}")


def test_a_prompt_that_is_a_query_too_is_told(root, tmp_path_factory):
    file = tmp_path_factory.mktemp("lists") / "oneprompt_seed1.json"
    for name, told in (("train/good/000.png", 0), ("test/good/000.png", 1)):
        file.write_text(json.dumps({"plate": {"filename": f"plate/{name}"}}))
        notes = evaluate(root, prompts=[str(file)]).notes
        said = f"1 of 1 prompts are queries, too, such as {root}/plate/{name}."
        assert notes.count(said) == told


def test_of_prompts_a_method_keeps_the_aligned_levels_alone():
    model = Network()
    model.unaligned = 2
    kept = []
    model.compare = lambda prompt, query: kept.append(prompt) or query[0] - 5
    network_method(model)(torch.rand(3, 1, 3, 8, 8))(torch.rand(2, 3, 8, 8))
    assert [len(prompt) for prompt in kept] == [2, 2, 2]


def test_an_average_of_methods_is_their_mean():
    methods = [lambda _, level=level: lambda queries: torch.full(queries.shape, level) for level in (0.0, 1.0)]
    assert (averaged(methods)(torch.zeros(1))(torch.zeros(2, 2)) == 0.5).all()


def test_an_encoder_is_asked_again_for_another_batch_only():
    model = Network()
    encode = Once(model.encode)
    first = torch.zeros(2, 3, 8, 8)
    assert encode(first) is encode(first)
    encode(first.clone())
    assert model.encoded == [2, 2]


def make_tall(root):
    """Images of 128 x 64 px, with a defect of 8 x 8."""
    for part, count in (("train/good", 2), ("test/good", 2), ("test/spot", 2), ("ground_truth/spot", 2)):
        (root / "tall" / part).mkdir(parents=True)
        for number in range(count):
            image = np.full((128, 64, 3), 0 if part.startswith("ground") else 90, np.uint8)
            if part.endswith("spot"):
                image[40:48, 20:28] = 255
            cv2.imwrite(str(root / "tall" / part / f"{number:03}.png"), image)


def test_each_category_keeps_its_aspect_at_the_area_of_the_size(root):
    make_tall(root)
    evaluation = Evaluation(Network(), settings(root, keep_aspect=True, size_px=[64, 64]), 0, CPU)
    assert evaluation.sizes == {"plate": (32, 96), "tall": (96, 32)}
    outcome = evaluation.run()
    assert outcome.sheets["tall"][0].query.shape == (96, 32, 3)
    assert any("32 x 96 px, 96 x 32 px" in note for note in outcome.notes)
    assert row_of(outcome, category="tall").scores.i_auroc == 1


def test_maps_of_several_scales_are_averaged_for_every_method(root):
    sizes = []

    class Sized(Network):
        def encode(self, images):
            sizes.append(tuple(images.shape[-2:]))
            return super().encode(images)

    one, two = (evaluate(root, Sized(), size_px=[64, 128], scales=scales) for scales in ([1.0], [1.0, 0.5]))
    assert set(sizes) == {(64, 128), (32, 64)}
    assert any("in 1, 0.5 of that size" in note for note in two.notes)
    for method in ("metauas", "patchcore", "pixel_difference"):
        assert row_of(two, method).scores.i_auroc == 1
        assert row_of(two, method).scores.p_ap <= row_of(one, method).scores.p_ap


def test_a_method_at_a_scale_is_the_method_on_shrunk_images():
    prompts, queries = torch.rand(2, 1, 3, 64, 64), torch.rand(3, 3, 64, 64)
    shrink = shrink_by(0.5, 32)
    found = at_scale(pixel_difference, shrink)(prompts)(queries)
    small = pixel_difference(torch.stack([shrink(shot) for shot in prompts]))(shrink(queries))
    assert found.shape == (3, 64, 64)
    torch.testing.assert_close(found[:, ::2, ::2].mean(), small.mean(), atol=0.02, rtol=0)


def test_a_speck_on_a_normal_image_is_no_anomaly_where_the_top_counts(root):
    path = root / "plate" / "test" / "good" / "000.png"
    image = cv2.imread(str(path))
    image[10:12, 10:12] = 255  # a pixel of the size that is scored
    cv2.imwrite(str(path), image)
    highest, top = (row_of(evaluate(root, image_score=how)).scores.i_auroc for how in ("max", "top"))
    assert highest < top == 1


def test_costs_count_parameters_and_time():
    model = Network()
    model.encoder.requires_grad_(requires_grad=False)
    cost = measure_cost("metauas", network_method(model), [model], SIZE, 4, CPU)
    assert (cost.parameters, cost.learnable) == (10, 1)
    assert cost.ms > 0
    assert "CPU" in cost.device


def test_every_score_has_a_name(root):
    assert list(row_of(evaluate(root)).scores.by_name()) == list(NAMES)
