import pytest
import torch

from model.metauas.network import MetaUAS
from model.pairs.dataset import PairDataset
from model.pairs.views import prepare
from model.training.feed import Feed
from model.training.validate import VALIDATION_EPOCH, validate
from tests.model.tiny_pairs import write_square_shards
from tests.model.tiny_training import params


def test_no_figure_of_validation_depends_on_what_makes_a_batch(tmp_path):
    write_square_shards(tmp_path)
    pairs, augment = PairDataset(tmp_path, "train"), params().train.augment.model_copy(update={"rotate_deg": 90.0})
    torch.manual_seed(0)
    network = MetaUAS(**params().model.arguments).eval()
    one, some, all_at_once = (
        validate(network, Feed(pairs, size).epoch(1), pairs.kind_names, augment, 0) for size in (1, 3, 8)
    )
    (batch,) = Feed(pairs, 8).epoch(1)
    valid = prepare(batch, augment, 0, VALIDATION_EPOCH).valid.flatten(1).sum(1)
    assert valid.max() > 1.2 * valid.min()  # pairs weigh differently
    assert one == pytest.approx(all_at_once, rel=1e-4)
    assert some == pytest.approx(all_at_once, rel=1e-4)
