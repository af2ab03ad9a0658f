"""MetaCAN on a benchmark: scores of its own, squares cut out, and what it stands beside."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from configs.errors import BadRequest
from model.benchmark import Evaluation
from model.benchmark.baselines import clip_baselines
from model.benchmark.cost import REPETITIONS, measure_cost
from model.benchmark.methods import Once, OwnScores, averaged, look_at, network_method
from model.benchmark.prior import _places
from model.encoders import VisualPrior
from model.encoders.clip import normalised
from model.metacan import MetaCAN
from model.metacan.text import ABNORMAL_STATES, NORMAL_STATES, prompts
from tests.model.clip_file import SMALL, save_clip, small_clip
from tests.model.metacan.tiny import ARGUMENTS, tiny
from tests.model.tiny_benchmark import Network, make_category, settings

import open_clip  # isort: skip  # after what readies torch for it

CPU = torch.device("cpu")


def images(seed, count):
    return torch.rand(count, 3, SMALL.image_px, SMALL.image_px, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_maps_are_the_levels_mean_and_the_score_is_eq_8_of_all_prompts_at_once():
    network = tiny().eval()
    shots, queries = images(0, 3), images(1, 4)
    compare = network_method(network)(shots.unsqueeze(1))
    found = network(shots, queries)
    maps, scores = look_at(compare, queries, "own")
    np.testing.assert_allclose(scores, found.score.numpy(), rtol=1e-5)
    assert maps.shape == (4, SMALL.image_px, SMALL.image_px)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), found.maps.mean(dim=(1, 2)).numpy(), rtol=0.05)
    assert np.array_equal(maps, compare(queries).numpy())
    assert np.array_equal(look_at(compare, queries, "max")[1], maps.max(axis=(1, 2)))


@torch.no_grad()
def test_the_floor_is_the_score_without_the_term_of_text():
    network = tiny().eval()
    shots, queries = images(0, 2), images(1, 4)
    floor = clip_baselines(network, network.encode)["levels"](shots.unsqueeze(1))
    wanted = tiny(terms=("low", "mid", "high")).eval()(shots, queries).score
    np.testing.assert_allclose(look_at(floor, queries, "own")[1], wanted.numpy(), rtol=1e-5)


def test_a_method_without_scores_of_its_own_gives_its_highest_pixel():
    maps = torch.rand(2, 5, 5)
    assert np.array_equal(look_at(lambda _: maps, torch.zeros(2), "own")[1], maps.amax(dim=(1, 2)).numpy())
    both = averaged([lambda _: OwnScores(lambda _: (maps, maps[:, 0, 0]))])(torch.zeros(1))
    assert torch.equal(both(torch.zeros(2)), maps)


def look(root, **changes):
    make_category(root / "nut", normals=5)
    chosen = settings(root, image_score="own", shots=2, seeds=2, **changes)
    return Evaluation(tiny().eval(), chosen, 0, CPU)


def test_a_benchmark_is_scored_beside_what_needs_no_training(tmp_path):
    outcome = look(tmp_path).run()
    assert outcome.network == "metacan"
    assert {row.method for row in outcome.rows} == {"metacan", "levels", "patchcore", "pixel_difference"}
    assert all(0 <= row.scores.i_auroc <= 1 for row in outcome.rows)
    assert any(row.deviation is not None for row in outcome.rows)
    assert outcome.sheets["nut"][0].query.shape == (SMALL.image_px, SMALL.image_px, 3)
    assert any("MetaCAN's own (Eq. 8)" in note for note in outcome.notes)
    assert {cost.method: cost.parameters for cost in outcome.costs}["levels"] > 0
    assert not math.isnan(outcome.rows[0].scores.p_ap)


def test_winclip_stands_beside_it_with_the_category_s_name_in_its_texts(tmp_path):
    """Its image score is the mean of the highest place of its map and of what texts say of the whole image."""
    make_category(tmp_path / "metal_nut", normals=5)
    clip = save_clip(tmp_path / "clip.pt")
    wanted = settings(
        tmp_path, image_score="own", variants=["one", "winclip+"], clip_weights=str(clip), categories=["metal_nut"]
    )
    network = MetaCAN.from_clip(clip, **ARGUMENTS).eval()
    evaluation = Evaluation(network, wanted, 0, CPU)
    outcome = evaluation.run()
    assert {row.method for row in outcome.rows} >= {"metacan", "levels", "winclip+"}
    shots, queries = images(0, 2), images(1, 3)
    with torch.no_grad():
        maps, scores = look_at(evaluation.winclip["metal_nut"](shots.unsqueeze(1)), queries, "own")
        whole = small_clip()
        texts = [
            F.normalize(
                F.normalize(whole.encode_text(open_clip.tokenize(prompts(states, "metal nut"))), dim=1).mean(0), dim=0
            )
            for states in (NORMAL_STATES, ABNORMAL_STATES)
        ]
        seen = whole.encode_image(normalised(queries), normalize=True)
        text = (100 * seen @ torch.stack(texts).T).softmax(dim=1)[:, 1].numpy()
        places = _places(VisualPrior(network.tower), shots.unsqueeze(1))(queries)  # 3 x 3, not yet enlarged
    np.testing.assert_allclose(scores, (places.amax(dim=(1, 2)).numpy() + text) / 2, atol=1e-5)
    assert maps.shape == (3, SMALL.image_px, SMALL.image_px)


def test_own_scores_are_refused_where_there_are_none(tmp_path):
    make_category(tmp_path / "nut")
    with pytest.raises(BadRequest, match="a metauas has no score but of its maps; take max"):
        Evaluation(Network(), settings(tmp_path, image_score="own"), 0, CPU)


def test_each_timed_batch_is_encoded():
    network, seen = tiny().eval(), []
    encode = Once(lambda batch: seen.append(len(batch)) or network.encode(batch))
    measure_cost("metacan", network_method(network, encode), [network], network.size, 2, CPU)
    assert seen == [1] + [2] * (1 + REPETITIONS)


def test_winclip_is_no_baseline_of_the_other_systems(tmp_path):
    make_category(tmp_path / "nut")
    with pytest.raises(BadRequest, match=r"winclip\+ is a baseline of MetaCAN's"):
        Evaluation(Network(), settings(tmp_path, variants=["one", "winclip+"]), 0, CPU)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size_px": 256}, "a MetaCAN sees CLIP's size"),
        ({"keep_aspect": True}, "a MetaCAN sees CLIP's size"),
        ({"variants": ["best"]}, "compares all queries with the same references"),
        ({"protocol": "paper", "image_score": "max"}, "protocol paper of metacan is own"),
    ],
)
def test_what_it_cannot_do_is_refused(tmp_path, changes, said):
    make_category(tmp_path / "nut")
    with pytest.raises(BadRequest, match=said):
        Evaluation(tiny().eval(), settings(tmp_path, **({"image_score": "own"} | changes)), 0, CPU)
