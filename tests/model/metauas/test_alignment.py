import math

import pytest
import torch
import torch.nn.functional as F

from model.metauas.alignment import FUSE, FUSED_WIDTH, START_PRODUCT, START_TEMPERATURE, Alignment, nearest_distance


def features(seed, channels=12, height=4, width=6):
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(seed))


def plain_soft(alignment, prompt, query, scale):
    """Eq. 4-6 word by word."""
    k, q = (alignment.project(side).flatten(2) for side in (prompt, query))  # (B, C / 2, hw)
    if alignment.similarity == "cosine":
        k, q = F.normalize(k, dim=1), F.normalize(q, dim=1)
    weights = torch.softmax(scale * torch.einsum("bcq,bck->bqk", q, k), dim=-1)
    return torch.einsum("bqk,bck->bcq", weights, prompt.flatten(2)).view_as(query)


@pytest.mark.parametrize(("similarity", "scale"), [("dot", 1.0), ("scaled", 6**-0.5), ("cosine", START_TEMPERATURE)])
def test_soft_alignment_is_the_paper_s_equations(similarity, scale):
    torch.manual_seed(0)
    alignment = Alignment(12, "soft", similarity)
    prompt, query = features(1), features(2)
    expected = plain_soft(alignment, prompt, query, scale)
    torch.testing.assert_close(alignment(prompt, query), expected, atol=1e-5, rtol=1e-5)


def test_cosine_and_hard_alignment_match_a_picture_with_itself():
    torch.manual_seed(0)
    same = 10 * features(1)
    cosine = Alignment(12, "soft", "cosine")
    torch.nn.init.constant_(cosine.log_temperature, 8.0)
    torch.testing.assert_close(cosine(same, same), same, atol=1e-3, rtol=1e-3)
    assert torch.equal(Alignment(12, "hard", "dot")(same, same), same)


def test_hard_alignment_follows_a_permutation_of_the_prompt():
    torch.manual_seed(0)
    query = features(1)
    prompt = query.flip(2)
    assert torch.equal(Alignment(12, "hard", "dot")(prompt, query), query)


def test_without_alignment_the_prompt_stays_as_it_is_and_nothing_learns():
    alignment = Alignment(12, "none", "dot")
    prompt = features(1)
    assert alignment(prompt, features(2)) is prompt
    assert not list(alignment.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_large_products_stay_finite_under_autocast(dtype):
    torch.manual_seed(0)
    alignment = Alignment(12, "soft", "dot")
    prompt, query = 500 * features(1), 500 * features(2)
    exact = alignment(prompt, query)
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(alignment(prompt, query), exact)


@pytest.mark.parametrize(("similarity", "scale"), [("dot", 1.0), ("scaled", 6**-0.5), ("cosine", START_TEMPERATURE)])
def test_statistics_are_those_of_the_whole_map_however_it_is_cut(similarity, scale, monkeypatch):
    torch.manual_seed(0)
    alignment = Alignment(12, "soft", similarity)
    prompt, query = features(1), features(2)
    k, q = (alignment.project(side).flatten(2) for side in (prompt, query))
    if similarity == "cosine":
        k, q = F.normalize(k, dim=1), F.normalize(q, dim=1)
    weights = torch.softmax(scale * torch.einsum("bcq,bck->bqk", q, k), dim=-1)
    entropy = torch.special.entr(weights).sum(dim=-1).mean().item()
    same = (weights.argmax(dim=-1) == torch.arange(24)).double().mean().item()
    for chunk in (1024, 5):
        monkeypatch.setattr("model.metauas.alignment.CHUNK", chunk)
        assert alignment.statistics(prompt, query) == pytest.approx((entropy, same), abs=1e-5)


def test_an_even_attention_has_the_entropy_of_all_places_and_a_choice_has_none():
    alignment = Alignment(12, "soft", "dot")
    torch.nn.init.zeros_(alignment.project.weight)
    assert alignment.statistics(features(1), features(2))[0] == pytest.approx(math.log(24), abs=1e-5)
    assert Alignment(12, "hard", "dot").statistics(features(1), features(1)) == (0.0, 1.0)


def test_the_learned_temperature_starts_at_twenty():
    assert Alignment(12, "soft", "cosine").log_temperature.exp().item() == pytest.approx(20)


def test_gradients_reach_the_projection_and_the_temperature():
    alignment = Alignment(12, "soft", "cosine")
    alignment(features(1), features(2)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in alignment.parameters())


@pytest.mark.parametrize("fusion", FUSE)
def test_a_fusion_has_the_width_it_states_and_begins_with_the_query(fusion):
    query, prompt = features(1), features(2)
    fused = FUSE[fusion](query, prompt)
    assert fused.shape[1] == 12 * FUSED_WIDTH[fusion]
    if fusion.startswith("concat"):
        assert torch.equal(fused[:, :12], query)
        assert torch.equal(fused[:, 12:24], prompt)


def entangled(seed):
    """Channels that go together and differ in strength, off zero, as those of a pretrained encoder."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q * torch.logspace(0, 0.7, 12)
    return torch.einsum("dc,bchw->bdhw", mix, features(seed, height=16, width=16)) + 5


def test_a_whitened_projection_is_centred_uncorrelated_and_as_long_as_said():
    torch.manual_seed(0)
    alignment = Alignment(12, "soft", "dot")
    alignment.whiten(entangled(1))
    projected = alignment.project(entangled(1)).transpose(0, 1).flatten(1)  # (C / 2, BHW)
    torch.testing.assert_close(projected.mean(dim=1), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(projected), torch.eye(6) * START_PRODUCT / 6, atol=0.5, rtol=0)
    torch.testing.assert_close(projected.square().sum(dim=0).mean().item(), START_PRODUCT, rtol=1e-3, atol=0)


def test_a_whitened_projection_finds_the_same_place_more_often():
    torch.manual_seed(0)
    alignment = Alignment(12, "soft", "dot")
    same = entangled(1)
    _, before = alignment.statistics(same, same)
    alignment.whiten(same)
    entropy, after = alignment.statistics(same, same)
    assert after > 2 * before
    assert 0.2 < entropy < math.log(256) - 1  # neither one place alone nor all alike


def test_a_place_s_distance_is_one_less_its_highest_cosine_wherever_that_lies():
    prompt, query = features(1), features(2)
    q, k = (F.normalize(side.flatten(2), dim=1) for side in (query, prompt))
    expected = 1 - torch.einsum("bcq,bck->bqk", q, k).amax(dim=2).view(2, 1, 4, 6)
    torch.testing.assert_close(nearest_distance(prompt, query), expected)
    torch.testing.assert_close(nearest_distance(prompt.flip(2, 3), query), expected)
    torch.testing.assert_close(nearest_distance(3 * query, query), torch.zeros(2, 1, 4, 6), atol=1e-6, rtol=0)
