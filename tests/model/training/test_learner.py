from functools import partial

import pytest
import torch
from torch.nn import BatchNorm2d

from model.metauas.network import MetaUAS
from model.pairs import views as augment
from model.pairs.dataset import PairDataset
from model.training.devices import Devices
from model.training.feed import Feed
from model.training.learner import cosine
from model.training.metauas import MetaUASLearner
from tests.model.tiny_pairs import write_square_shards
from tests.model.tiny_training import fixed_norms, params

ALONE = Devices(torch.device("cpu"))


@pytest.fixture
def batch(tmp_path):
    """Five pairs."""
    write_square_shards(tmp_path / "pairs")
    return next(Feed(PairDataset(tmp_path / "pairs", "train"), 5).epoch(1))


def learner(model=None, devices=ALONE, **recipe):
    """One whose network always starts from the same weights."""
    torch.manual_seed(0)
    network = MetaUAS(**params().model.arguments | (model or {}))
    return MetaUASLearner(network.train(), params(clip_norm=None, **recipe).train, 0, 3, devices)


def step(one, batch):
    """The first of a run."""
    return one.step(batch, one.draw(batch, 1), 1, 0, 0)


def gradients(one):
    return {name: value.grad for name, value in one.network.named_parameters() if value.grad is not None}


def test_the_alignment_learns_with_its_own_share_of_the_learning_rate(batch):
    def first_step(share):
        one = learner(alignment_lr_share=share, weight_decay=0.0, schedule="constant")
        before = {name: value.clone() for name, value in one.network.named_parameters()}
        step(one, batch)
        return {name: value.detach() - before[name] for name, value in one.network.named_parameters()}

    whole, tenth = first_step(1.0), first_step(0.1)
    for name, change in whole.items():
        expected = 0.1 * change if name.startswith("alignment.") else change
        torch.testing.assert_close(tenth[name], expected, rtol=1e-2, atol=1e-7)
    assert any(change.any() for name, change in whole.items() if name.startswith("alignment."))


def test_the_gradient_of_parts_is_that_of_the_whole_mean_over_valid_pixels(batch, monkeypatch):
    fixed_norms(monkeypatch)
    whole, parts = learner(), learner(device_batch=2)
    assert whole.views(batch, 1).valid.flatten(1).sum(1).unique().numel() > 1  # pairs weigh differently
    torch.testing.assert_close(step(parts, batch).loss, step(whole, batch).loss, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(gradients(parts), gradients(whole), atol=1e-6, rtol=1e-4)


def test_no_more_views_are_held_at_once_than_the_device_is_to_hold(batch, monkeypatch):
    warped = []
    warp = augment.warp
    monkeypatch.setattr(
        augment, "warp", lambda images, *rest, **how: warped.append(len(images)) or warp(images, *rest, **how)
    )
    step(learner(device_batch=2), batch)
    assert sorted(warped) == [1, 2, 2, 2, 4, 4]  # masks, and two images a pair


def test_devices_send_two_messages_a_step(batch, monkeypatch):
    sent = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda values: sent.append(values.numel()))
    one = learner(devices=Devices(torch.device("cpu"), count=2))
    step(one, batch)
    statistics = sum(2 * module.num_features for module in one.network.modules() if isinstance(module, BatchNorm2d))
    learned = sum(gradient.numel() for gradient in gradients(one).values())
    assert sent == [1, 1 + learned + statistics]  # valid pixels; the loss and the rest


@pytest.mark.parametrize("encoder", ["test_resnet", "mobilenetv2_100", "tf_efficientnet_b0"])
def test_the_fast_form_of_a_frozen_encoder_changes_no_gradient(batch, monkeypatch, encoder):
    fixed_norms(monkeypatch)  # statistics of few places blow rounding up
    fast = learner({"encoder": encoder, "freeze_encoder": True})
    monkeypatch.setattr("model.training.metauas.with_fast_encoder", lambda network: network)
    plain = learner({"encoder": encoder, "freeze_encoder": True})
    torch.testing.assert_close(step(fast, batch).loss, step(plain, batch).loss, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients(fast), gradients(plain), atol=1e-5, rtol=1e-3)
    assert not any(name.startswith("encoder.") for name in gradients(fast))


def test_bf16_starts_from_the_loss_of_float32_and_keeps_weights_in_it(batch):
    mixed = learner(precision="bf16-mixed")
    loss = step(mixed, batch).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, step(learner(), batch).loss, rtol=2e-2, atol=0)
    assert {value.dtype for value in mixed.network.parameters()} == {torch.float32}
    assert all(gradient.isfinite().all() for gradient in gradients(mixed).values())
    seen = mixed.views(batch, 1)
    with mixed.autocast():
        level = mixed.network.encode(seen.prompt)[-1]
    assert level.dtype == torch.bfloat16  # so it was not float32 that was compared with itself


def test_a_compiled_network_is_one_graph_and_learns_the_same_from_batches_of_any_size(batch, monkeypatch):
    fixed_norms(monkeypatch)
    graphs = []

    def as_traced(module, example_inputs):
        graphs.append(example_inputs)
        return module.forward

    # Without Inductor, which takes minutes and a compiler; with `fullgraph` a break is an error.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=as_traced, fullgraph=True))
    compiled, plain = (learner(compile=how, device_batch=3) for how in (True, False))  # parts of 3 and 2
    torch.testing.assert_close(step(compiled, batch).loss, step(plain, batch).loss, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradients(compiled), gradients(plain), atol=1e-6, rtol=1e-4)
    assert graphs


def test_the_schedule_warms_up_and_ends_near_zero():
    shares = [cosine(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.2)
    assert max(shares) == shares[5] == 1
    assert 0 < shares[-1] < 0.001
