import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.metauas.few_shot import compare_many
from model.metauas.network import MetaUAS
from model.metauas.pool import PromptPool, pooled

TINY = {"encoder": "test_resnet", "decoder_channels": (16, 16, 8, 8)}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MetaUAS(**TINY).eval()


def images(count, seed=0):
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("how", ["maps", "features"])
def test_one_prompt_or_the_same_one_k_times_is_the_network_itself(network, how):
    prompt, query = network.encode(images(1)), network.encode(images(3, seed=1))
    once = network.compare(prompt, query).sigmoid()
    torch.testing.assert_close(compare_many(network, [prompt], query, how), once)
    torch.testing.assert_close(compare_many(network, [prompt] * 3, query, how), once)


@pytest.mark.parametrize("how", ["maps", "features"])
@given(order=st.permutations(range(3)))
def test_the_order_of_prompts_does_not_matter(network, how, order):
    prompts = [network.encode(images(1, seed)) for seed in range(3)]
    query = network.encode(images(2, seed=9))
    torch.testing.assert_close(
        compare_many(network, [prompts[place] for place in order], query, how),
        compare_many(network, prompts, query, how),
    )


def test_the_mean_of_maps_is_one_of_probabilities(network):
    prompts = [network.encode(images(1, seed)) for seed in range(2)]
    query = network.encode(images(2, seed=9))
    maps = [network.compare(prompt, query).sigmoid() for prompt in prompts]
    torch.testing.assert_close(compare_many(network, prompts, query), (maps[0] + maps[1]) / 2)


@pytest.mark.parametrize("alignment", ["soft", "none"])
def test_the_mean_of_features_is_decoded_once_and_leaves_the_prompts_as_they_are(alignment):
    torch.manual_seed(0)
    network = MetaUAS(**TINY, alignment=alignment).eval()
    prompts = [network.encode(images(1, seed)) for seed in range(2)]
    before = [level.clone() for level in prompts[0]]
    query = network.encode(images(2, seed=9))
    aligned = [network.align(prompt, query) for prompt in prompts]
    mean = [(first + second) / 2 for first, second in zip(*aligned, strict=True)]
    expected = network.decode(query, mean).sigmoid()
    torch.testing.assert_close(compare_many(network, prompts, query, "features"), expected)
    assert all(map(torch.equal, prompts[0], before))


@pytest.mark.parametrize(("count", "how"), [(0, "maps"), (1, "median")])
def test_a_wrong_few_shot_request_is_refused(network, count, how):
    features = network.encode(images(1))
    with pytest.raises(BadRequest, match="wanted at least one, by mean of maps or features"):
        compare_many(network, [features] * count, features, how)


@pytest.mark.parametrize("keep_features", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_each_image_of_the_pool_finds_itself_and_its_own_features(network, keep_features, batch_size):
    pictures = images(5)
    pool = PromptPool.build(network, list(pictures), None, batch_size, keep_features=keep_features)
    with torch.no_grad():
        features = network.encode(pictures)
        best = pool.best(pooled(features))
    assert best.squeeze(1).tolist() == list(range(len(pool)))
    wanted = torch.tensor([3, 0, 3])
    for got, level in zip(pool.features(wanted), features[network.unaligned :], strict=True):
        torch.testing.assert_close(got, level[wanted])
    query = network.encode(images(3, seed=4))
    torch.testing.assert_close(
        network.compare(pool.features(wanted), query),
        network.compare([level[wanted] for level in features], query),
    )


def test_a_pool_s_images_may_come_one_by_one(network):
    pool = PromptPool.build(network, (image for image in images(3)), batch_size=2)
    assert len(pool) == 3


def test_the_best_prompts_are_those_of_highest_cosine_whatever_their_length(network):
    pool = PromptPool(network, torch.tensor([[1.0, 0.0], [30.0, 30.0], [0.0, 0.5]]), None, [], encoded=True)
    queries = torch.tensor([[2.0, 0.1], [0.1, 9.0]])
    assert pool.best(queries, k=3).tolist() == [[0, 1, 2], [2, 1, 0]]


def test_with_classes_a_prompt_is_of_the_query_s_class_and_of_any_without(network):
    pool = PromptPool(network, torch.eye(3), ["nut", "nut", "screw"], [], encoded=True)
    query = torch.tensor([[0.1, 0.2, 0.9]])
    assert pool.best(query).tolist() == [[2]]
    assert pool.best(query, classes=["nut"]).tolist() == [[1]]
    with pytest.raises(BadRequest, match="wanted 2 prompts a query, but there are 1 to choose from"):
        pool.best(query, k=2, classes=["screw"])
    with pytest.raises(BadRequest, match="no prompt of class bolt; there are nut, screw"):
        pool.best(query, classes=["bolt"])


def test_a_wrong_pool_is_refused(network):
    with pytest.raises(BadRequest, match="0 images"):
        PromptPool.build(network, [])
    with pytest.raises(BadRequest, match="2 images, 1 classes"):
        PromptPool.build(network, images(2), ["nut"])
    with pytest.raises(BadRequest, match="pass a sequence of them"):
        PromptPool.build(network, iter(images(2)), keep_features=False)
    with pytest.raises(BadRequest, match="the pool was built without"):
        PromptPool.build(network, images(2)).best(torch.ones(1, 512), classes=["nut"])
