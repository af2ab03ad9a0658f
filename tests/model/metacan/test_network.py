import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.encoders.clip import normalised
from model.metacan.network import MetaCAN
from tests.model.clip_file import SMALL
from tests.model.lively import lively
from tests.model.metacan.tiny import features, normal, tiny

IMAGES = torch.rand(2, 3, SMALL.image_px, SMALL.image_px, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return lively(tiny())


def test_the_paper_s_network_has_the_paper_s_parameters():
    with torch.device("meta"):
        network = MetaCAN()
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert learned == sum(p.numel() for p in network.detector.parameters()) == 1_777_615  # Table 6
    assert network.blocks == [1, 7, 12]
    assert network.size == (240, 240)


def test_tokens_are_those_after_the_blocks_without_the_class_token(network):
    outputs = []
    blocks = network.tower.transformer.resblocks
    hooks = [blocks[i].register_forward_hook(lambda *given: outputs.append(given[-1])) for i in (0, 1, 3)]
    with torch.no_grad():
        network.tower(normalised(IMAGES))
    for hook in hooks:
        hook.remove()
    found = network.encode(IMAGES)
    assert found.shape == (2, 3, SMALL.patches, SMALL.width)
    for level, output in enumerate(outputs):
        torch.testing.assert_close(found[:, level], output[:, 1:])
    assert not found.requires_grad


def test_blocks_after_the_last_level_are_not_run():
    network = tiny(blocks=(1, 2, 3))
    network.tower.transformer.resblocks[3].register_forward_hook(lambda *_: pytest.fail("block 4 was run"))
    network.encode(IMAGES)


def test_an_image_of_another_size_is_brought_to_clip_s(network):
    larger = torch.rand(1, 3, 2 * SMALL.image_px, 3 * SMALL.image_px, generator=torch.Generator().manual_seed(1))
    assert network.encode(larger).shape == (1, 3, SMALL.patches, SMALL.width)


@settings(max_examples=20)
@given(shots=st.integers(1, 4), queries=st.integers(1, 4), seed=st.integers(0, 99))
@torch.no_grad()
def test_a_query_s_score_is_its_own_and_the_mean_of_four(network, shots, queries, seed):
    prompt, query = features(seed, shots), features(seed + 100, queries)
    found = network.compare(prompt, query)
    assert found.maps.shape == (queries, 3, SMALL.patches)
    assert found.text_map.shape == (queries, SMALL.patches)
    for term, level in zip((found.low, found.mid, found.high), found.maps.unbind(1), strict=True):
        torch.testing.assert_close(term, level.amax(dim=1))
    torch.testing.assert_close(found.score, (found.low + found.mid + found.high + found.text) / 4)
    torch.testing.assert_close(network.compare(prompt.flip(0), query[-1:]).score, found.score[-1:])


def test_what_is_no_batch_of_images_is_refused(network):
    for shape in ((3, 48, 48), (1, 1, 48, 48)):
        with pytest.raises(BadRequest, match=r"images are .*; wanted \(B, 3, H, W\)"):
            network.encode(torch.zeros(shape))


def test_forward_is_encode_and_compare(network):
    images = torch.rand(3, 3, SMALL.image_px, SMALL.image_px, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(IMAGES, images).score
        torch.testing.assert_close(found, network.compare(network.encode(IMAGES), network.encode(images)).score)


@torch.no_grad()
def test_training_uses_the_batch_s_statistics_and_evaluation_the_running_ones():
    network = tiny()
    prompt, query = features(0, 2), features(1, 6)
    trained = network.train().compare(prompt, query).text
    own = network.compare(prompt, query[:3]).text
    assert not torch.allclose(own, trained[:3])  # a score depends on its batch
    network.eval()
    before = copy.deepcopy(network.state_dict())
    torch.testing.assert_close(network.compare(prompt, query[:3]).text, network.compare(prompt, query).text[:3])
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@torch.no_grad()
def test_running_statistics_that_never_moved_make_the_norms_scale_and_shift():
    network = tiny().eval()  # as the release evaluates
    network.detector.diff_head.bn1.weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))
    text_map = torch.rand(5, SMALL.patches, generator=torch.Generator().manual_seed(1))
    x, head = text_map, network.detector.diff_head
    for linear, norm in ((head.projection1, head.bn1), (head.projection2, head.bn2)):
        x = norm.weight * linear(x).relu() / (1 + norm.eps) ** 0.5 + norm.bias
    torch.testing.assert_close(head(text_map), head.projection3(x).sigmoid())


@torch.no_grad()
def test_the_ablations_of_table_4_are_the_terms_alone():
    prompt, query = features(0, 2), features(1, 4)
    whole = tiny().eval()
    found = whole.compare(prompt, query)
    no_discriminator = tiny(terms=("text",)).eval().compare(prompt, query)
    torch.testing.assert_close(no_discriminator.score, found.text)
    no_detector = MetaCAN(blocks=(1, 2, 4), terms=("low", "mid", "high"), sizes=SMALL).eval()
    floor = no_detector.compare(prompt, query)
    torch.testing.assert_close(floor.score, (found.low + found.mid + found.high) / 3)
    assert floor.text is None
    assert floor.text_map is None
    assert not any(p.requires_grad for p in no_detector.parameters())
    with pytest.raises(BadRequest, match="terms are low, mid, high; without text nothing learns"):
        no_detector.meta_loss([], 0.1)
    single = tiny(terms=("high", "low")).eval().compare(prompt, query)
    torch.testing.assert_close(single.score, (found.low + found.high) / 2)


def test_the_tower_is_frozen_in_evaluation_mode_and_in_no_state_dict(network):
    fresh = tiny(seed=5).train()
    assert fresh.detector.training
    assert not any(module.training for module in fresh.tower.modules())
    assert not any(p.requires_grad for p in fresh.tower.parameters())
    state = network.state_dict()
    assert {key.partition(".")[0] for key in state} == {"detector"}
    fresh.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in fresh.state_dict().items())
    with pytest.raises(RuntimeError, match=r"Missing key.*detector\.text"):
        fresh.load_state_dict({key: value for key, value in state.items() if key != "detector.text"})
    assert set(torch.nn.ModuleDict({"one": network}).state_dict()) == {f"one.{key}" for key in state}


def test_text_is_set_from_raw_rows():
    network = tiny()
    rows = normal([0], (7, SMALL.embedding)), normal([1], (4, SMALL.embedding))
    network.set_text(*rows)
    torch.testing.assert_close(network.detector.text.norm(dim=1), torch.ones(2))
    mean = (rows[1] / rows[1].norm(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(network.detector.text[1], mean / mean.norm())
    with pytest.raises(BadRequest, match=r"text rows are \(7, 23\); wanted \(n, 24\)"):
        network.set_text(rows[0][:, 1:], rows[1])
    with pytest.raises(BadRequest, match=r"text rows are \(0, 24\); wanted \(n, 24\), n > 0"):
        network.set_text(rows[0], rows[1][:0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"blocks": (1, 7, 12)}, r"blocks are \[1, 7, 12\]; wanted three of 1 to 4, ascending"),
        ({"blocks": (0, 1, 2)}, "wanted three of 1 to 4, ascending"),
        ({"blocks": (1, 2)}, "wanted three"),
        ({"terms": ()}, "wanted some of low, mid, high, text, each once"),
        ({"terms": ("text", "text")}, "each once"),
        ({"terms": ("class",)}, r"terms are \['class'\]; wanted some of low"),
    ],
)
def test_a_wrong_argument_says_what_was_wanted(wrong, said):
    with pytest.raises(BadRequest, match=said):
        tiny(**wrong)


@pytest.mark.parametrize(
    ("prompt", "query"), [((0, 3, 9, 32), (1, 3, 9, 32)), ((2, 3, 9, 32), (3, 9, 32)), ((1, 3, 9, 32), (1, 3, 8, 32))]
)
def test_features_that_do_not_go_together_are_refused(network, prompt, query):
    with pytest.raises(BadRequest, match=r"wanted features of one reference or more and of queries"):
        network.compare(torch.zeros(prompt), torch.zeros(query))
