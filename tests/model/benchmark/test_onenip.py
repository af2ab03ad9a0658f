"""A OneNIP on a benchmark: its variants, its scale, and what it cannot do."""

import pytest
import torch

from configs.errors import BadRequest
from model.benchmark.evaluation import Evaluation
from model.benchmark.look import variant_names
from model.benchmark.methods import network_method
from model.onenip import OneNIP
from tests.model.tiny_benchmark import make_category, settings

CPU = torch.device("cpu")
SIZE = (64, 64)


@pytest.fixture
def root(tmp_path):
    make_category(tmp_path / "plate")
    make_category(tmp_path / "bowl", grey=30)
    return tmp_path


@pytest.fixture
def network():
    torch.manual_seed(0)
    one = OneNIP("test_resnet", size=SIZE, encoder_layers=1, decoder_layers=1).eval()
    one.normaliser.fill_(2.0)
    return one


def evaluate(network, root, **changes):
    return Evaluation(network, settings(root, **{"image_score": "pooled"} | changes), 0, CPU).run()


def test_every_variant_has_its_rows_and_the_baselines_see_the_same_features(network, root):
    outcome = evaluate(network, root, variants=["one", "each", "best", "pool"], seeds=2)
    names = variant_names("onenip")
    wanted = {names[variant] for variant in ("one", "each", "best", "pool")} | {"pixel_difference", "patchcore"}
    assert {row.method for row in outcome.rows} == wanted
    assert outcome.network == "onenip"
    deviating = {row.method for row in outcome.rows if row.deviation is not None}
    assert names["each"] in deviating
    assert names["best"] not in deviating
    assert any("highest mean of any 16 x 16 px" in note for note in outcome.notes)
    assert not any("scale c" in note for note in outcome.notes)


def test_a_method_is_the_mean_of_its_prompts_maps_in_units_of_twice_the_scale(network):
    prompts, queries = torch.rand(2, 1, 3, *SIZE), torch.rand(3, 3, *SIZE)
    with torch.inference_mode():
        found = network_method(network)(prompts)(queries)
        maps = [network.score_map(network.compare(network.encode(p), network.encode(queries))) for p in prompts]
    torch.testing.assert_close(found, torch.stack(maps).mean(0).squeeze(1) / 4)


@pytest.mark.parametrize(("protocol", "said"), [("paper", "it knows the defects"), ("exact", "normal training images")])
def test_a_scale_that_is_not_known_is_made_and_told(network, root, protocol, said):
    network.normaliser.zero_()
    outcome = evaluate(network, root, protocol=protocol)
    assert any("scale c" in note and said in note for note in outcome.notes)
    assert network.normaliser > 0


def test_under_the_paper_s_protocol_the_scale_is_the_test_set_s_whatever_the_checkpoint_says(network, root):
    evaluate(network, root, protocol="paper")
    assert network.normaliser != 2.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size_px": 96}, "size_px = 96, but a OneNIP is of one size, here \\[64, 64\\]"),
        ({"keep_aspect": True}, "set evaluate.keep_aspect to false"),
        ({"scales": [1.0, 0.5]}, "compares with one prompt at a time"),
        ({"shots": 2, "shots_mean": "features"}, "shots_mean to maps"),
        ({"variants": ["best+clip"]}, r"best\+clip is MetaUAS's"),
        ({"variants": ["one", "one+patchcore"]}, r"one\+patchcore is MetaUAS's"),
        ({"protocol": "paper", "image_score": "max"}, "protocol paper of onenip is pooled"),
    ],
)
def test_what_it_cannot_do_is_one_line(network, root, changes, said):
    with pytest.raises(BadRequest, match=said):
        evaluate(network, root, **changes)
