import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.onenip.learning import JITTER, dice_loss, draw_noise, jitter

pixels = (2, 1, 4, 4)
masks = arrays(np.bool_, pixels).map(lambda mask: torch.from_numpy(mask).float())
maps = arrays(np.float32, pixels, elements=st.floats(0, 1, width=32)).map(torch.from_numpy)


@given(masks)
def test_a_perfect_map_of_n_anomalous_pixels_loses_n_of_2n_and_1(mask):
    count = mask.sum(dim=(1, 2, 3))
    torch.testing.assert_close(dice_loss(mask, mask), count / (2 * count + 1))


@given(maps, masks)
def test_the_dice_loss_lies_in_0_to_1_and_false_alarms_cost(found, mask):
    loss = dice_loss(found, mask)
    assert (loss >= 0).all()
    assert (loss < 1).all()
    assert (dice_loss(found * mask, mask) <= loss).all()
    assert ((found * (1 - mask) > 0.1).any(dim=3).any(dim=2)[:, 0] <= (dice_loss(found * mask, mask) < loss)).all()


def test_noise_is_a_sample_s_own_whatever_its_batch():
    together = draw_noise([np.random.default_rng([0, sample]) for sample in range(3)], (5, 2, 2))
    alone = draw_noise([np.random.default_rng([0, 1])], (5, 2, 2))
    assert together.shape == (3, 3, 5, 2, 2)
    assert together.dtype == torch.float32
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])


@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_a_token_is_jittered_in_proportion_to_its_length(seed, scale):
    rng = np.random.default_rng([seed])
    features, noise = (torch.from_numpy(rng.standard_normal((2, 6, 3, 3), dtype=np.float32)) for _ in range(2))
    moved = jitter(features, noise) - features
    torch.testing.assert_close(jitter(scale * features, noise) - scale * features, scale * moved, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(moved[0, :, 1, 2], JITTER / 6 * features[0, :, 1, 2].norm() * noise[0, :, 1, 2])


def test_the_noise_is_stronger_than_the_features_of_the_paper_s_encoder():
    features, noise = (torch.randn(1, 272, 14, 14, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    moved = jitter(features, noise) - features
    assert (moved.std() / features.std()).item() == pytest.approx(20 / 272**0.5, rel=0.02)
