import pytest
import torch
import torch.nn.functional as F

from configs.errors import BadRequest
from model.metacan.detector import Detector, difference
from tests.model.lively import lively
from tests.model.metacan.tiny import normal


def detector():
    torch.manual_seed(0)
    found = Detector(patches=6, width=8, hidden=10, embedding=5)
    found.text.copy_(F.normalize(normal([0], (2, 5)), dim=1))
    return lively(found)


def test_a_difference_is_to_the_mean_of_the_references_high_level():
    references, query = normal([0], (2, 3, 6, 8)), normal([1], (4, 3, 6, 8))
    found = difference(references, query)
    assert found.shape == (4, 6, 8)
    torch.testing.assert_close(found[3, 5], query[3, 2, 5] - (references[0, 2, 5] + references[1, 2, 5]) / 2)


@torch.no_grad()
def test_scores_and_maps_are_probabilities_and_larger_differences_are_no_more_abnormal():
    net, given = detector(), normal([2], (7, 6, 8))
    score, text_map = net(given)
    assert score.shape == (7,)
    assert text_map.shape == (7, 6)
    for found in (score, text_map):
        assert found.min() >= 0
        assert found.max() <= 1
    torch.testing.assert_close(net(5 * given), (score, text_map))  # no biases, and Eq. 6 is of cosines
    torch.testing.assert_close(net(given[2:3])[0], score[2:3])


@torch.no_grad()
def test_the_map_is_the_softmax_of_a_hundred_cosines():
    net, given = detector(), normal([2], (1, 6, 8))
    shown = net.projection(given)
    assert shown.min() >= 0
    cosine = F.cosine_similarity(shown.unsqueeze(2), net.text, dim=3)
    torch.testing.assert_close(net(given)[1], (100 * (cosine[..., 1] - cosine[..., 0])).sigmoid(), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_query_that_is_its_only_reference_is_undecided_and_no_nan():
    score, text_map = detector()(torch.zeros(2, 6, 8))
    assert (text_map == 0.5).all()
    assert score.isfinite().all()


def test_text_that_was_never_set_is_said():
    with pytest.raises(BadRequest, match="never set; call set_text, or begin with from_clip"):
        Detector(patches=6, width=8, hidden=10, embedding=5)(torch.zeros(2, 6, 8))
