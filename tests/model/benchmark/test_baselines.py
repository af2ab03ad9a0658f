import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.benchmark.baselines import patchcore, pixel_difference

LAW = settings(max_examples=30)

seeds = st.integers(0, 2**32 - 1)


def images(seed, count=2, height=32, width=64):
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(seed))


def pyramid(batch):
    """Colours averaged over cells of 2, 4, 8, 16, 32 pixels, beside a constant so that no patch is zero."""
    levels = [torch.nn.functional.avg_pool2d(batch, 2**level) for level in range(1, 6)]
    return [torch.cat([level, torch.ones_like(level[:, :1])], dim=1) for level in levels]


METHODS = pytest.mark.parametrize("method", [pixel_difference, patchcore(pyramid)], ids=["pixels", "patchcore"])


@METHODS
@LAW
@given(seed=seeds)
def test_a_query_like_its_prompt_is_normal_everywhere(method, seed):
    batch = images(seed)
    maps = method(batch[None])(batch)
    assert maps.shape == (2, 32, 64)
    torch.testing.assert_close(maps, torch.zeros_like(maps), atol=1e-6, rtol=0)


@METHODS
@LAW
@given(seed=seeds)
def test_one_prompt_for_all_is_the_same_as_a_copy_for_each(method, seed):
    prompt, queries = images(seed, 1), images(seed + 1, 3)
    copies = prompt.expand(3, -1, -1, -1)
    torch.testing.assert_close(method(prompt[None])(queries), method(copies[None])(queries))


@METHODS
def test_a_changed_corner_is_the_highest_of_the_map(method):
    prompt = images(0, 1) * 0.1 + 0.2
    query = prompt.clone()
    query[:, 0, :16, :16] = 1
    row, col = divmod(int(method(prompt[None])(query).argmax()), 64)
    assert row < 16
    assert col < 16


def test_pixel_difference_is_the_mean_over_channels():
    prompt = torch.zeros(1, 3, 2, 2)
    query = torch.tensor([0.3, 0.0, 0.9]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    torch.testing.assert_close(pixel_difference(prompt[None])(query), torch.full((1, 2, 2), 0.4))


@LAW
@given(seeds, st.integers(0, 1), st.integers(0, 3))
def test_patchcore_does_not_mind_where_a_patch_went(seed, rows, cols):
    prompt = images(seed)
    query = prompt.roll((rows * 16, cols * 16), (2, 3))
    torch.testing.assert_close(patchcore(pyramid)(prompt[None])(query), torch.zeros(2, 32, 64), atol=1e-6, rtol=0)


@LAW
@given(seeds)
def test_every_shot_is_in_patchcores_memory(seed):
    shots, query = torch.stack([images(seed), images(seed + 1)]), images(seed + 2)
    both = patchcore(pyramid)(shots)(query)
    for shot in shots:
        assert (both <= patchcore(pyramid)(shot[None])(query) + 1e-6).all()
        own = patchcore(pyramid)(shots)(shot)
        torch.testing.assert_close(own, torch.zeros_like(own), atol=1e-6, rtol=0)


def test_patchcore_encodes_its_shots_one_by_one():
    batches = []
    patchcore(lambda batch: batches.append(len(batch)) or pyramid(batch))(
        torch.stack([images(0), images(1), images(2)])
    )
    assert batches == [2, 2, 2]


def test_patchcore_is_one_minus_the_best_cosine():
    def encode(batch):
        return [batch]  # the pixels are the patches

    prompt = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).T.reshape(1, 3, 1, 2)
    query = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 4.0]]).T.reshape(1, 3, 1, 2)
    maps = patchcore(encode, levels=(0,))(prompt[None])(query)
    torch.testing.assert_close(maps, torch.tensor([[[0.0, 0.4]]]))
