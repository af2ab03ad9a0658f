import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.metacan.discriminator import anomaly_maps
from tests.model.metacan.tiny import normal


def plainly(references, query):
    """Eq. 1-2, a patch at a time."""
    maps = np.empty(query.shape[:3])
    for image, level, patch in np.ndindex(*maps.shape):
        own = query[image, level, patch]
        seen = references[:, level].reshape(-1, query.shape[-1])
        cosines = seen @ own / np.linalg.norm(seen, axis=1) / np.linalg.norm(own)
        maps[image, level, patch] = 0.5 * (1 - np.sort(cosines)[-len(references) :].mean())
    return maps


shots = st.integers(1, 5)
seeds = st.integers(0, 99)


@settings(max_examples=25)
@given(shots=shots, queries=st.integers(1, 3), seed=seeds)
def test_it_is_eq_1_and_2(shots, queries, seed):
    references, query = normal([seed, 0], (shots, 3, 6, 8)), normal([seed, 1], (queries, 3, 6, 8))
    found = anomaly_maps(references, query)
    np.testing.assert_allclose(found, plainly(references.numpy(), query.numpy()), atol=1e-6)
    assert found.min() > -1e-6
    assert found.max() < 1 + 1e-6


@settings(max_examples=25)
@given(shots=shots, seed=seeds)
def test_neither_the_order_nor_the_length_of_anything_counts(shots, seed):
    references, query = normal([seed, 0], (shots, 3, 6, 8)), normal([seed, 1], (3, 3, 6, 8))
    found = anomaly_maps(references, query)
    torch.testing.assert_close(anomaly_maps(references.flip(0).flip(2), query), found)
    torch.testing.assert_close(anomaly_maps(3 * references, 0.5 * query), found)
    torch.testing.assert_close(anomaly_maps(references, query[[2, 0]]), found[[2, 0]])


def test_a_query_that_is_its_only_reference_has_no_anomaly():
    images = normal([0], (1, 3, 6, 8))
    torch.testing.assert_close(anomaly_maps(images, images), torch.zeros(1, 3, 6), atol=1e-6, rtol=0)
