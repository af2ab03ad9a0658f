import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.metacan.meta import focal_loss
from tests.model.metacan.tiny import features, labels, task, tiny


def gradients(network, tasks, inner_lr, **options):
    network.zero_grad()
    network.meta_loss(tasks, inner_lr, **options).backward()
    return {name: parameter.grad.clone() for name, parameter in network.detector.named_parameters()}


def close(found, wanted, **tolerance):
    for name, value in found.items():
        torch.testing.assert_close(value, wanted[name], msg=lambda said, name=name: f"{name}: {said}", **tolerance)


@pytest.mark.parametrize(
    ("score", "label", "loss"),
    [(0.0, 0, 0.173), (0.0, 1, 0.173), (1.0, 1, 0.023), (1.0, 0, 0.702)],
)
def test_the_loss_takes_a_score_for_a_logit(score, label, loss):
    assert float(focal_loss(torch.tensor([score]), torch.tensor([label]))) == pytest.approx(loss, abs=5e-4)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=6))
def test_the_loss_of_a_set_is_the_mean_of_lin_s_focal_loss(items):
    def one(score, label):
        right = 1 / (1 + math.exp(-score if label else score))
        return -((1 - right) ** 2) * math.log(right)

    scores, labelled = (torch.tensor(column, dtype=torch.float64) for column in zip(*items, strict=True))
    wanted = sum(one(*item) for item in items) / len(items)
    assert float(focal_loss(scores, labelled)) == pytest.approx(wanted)


def test_the_loss_is_the_query_set_s_after_a_step_on_the_support_set():
    network, one = tiny(), task(0)
    found = network.meta_loss([one], 0.05)
    stepped = tiny().train()
    with torch.no_grad():
        stepped.load_state_dict(network.state_dict())
    before = focal_loss(stepped.compare(one.references, one.support).score, one.support_labels)
    before.backward()
    with torch.no_grad():
        for parameter in stepped.detector.parameters():
            parameter -= 0.05 * parameter.grad
        after = focal_loss(stepped.compare(one.references, one.query).score, one.query_labels)
    torch.testing.assert_close(found.detach(), after)
    assert not torch.allclose(before.detach(), after)


@settings(max_examples=3)
@given(seed=st.integers(0, 99))
def test_the_gradient_is_that_of_the_whole_way_through_the_inner_step(seed):
    network = tiny(seed).double()
    tasks = [tuple(values.double() for values in task(seed))]
    along = {name: torch.randn_like(value) for name, value in network.detector.named_parameters()}
    found = gradients(network, tasks, 0.05)
    slope = sum(float((found[name] * along[name]).sum()) for name in found)
    ends = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            for name, parameter in network.detector.named_parameters():
                parameter += step * along[name]
        ends.append(network.meta_loss(tasks, 0.05).item())
    assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)


def test_first_order_takes_the_inner_gradient_for_a_constant():
    network, one = tiny().train(), task(0)
    first = gradients(network, [one], 0.05, first_order=True)
    second = gradients(network, [one], 0.05)
    assert any(not torch.allclose(first[name], second[name], rtol=0.1) for name in first)
    stepped = tiny().train()
    focal_loss(stepped.compare(one.references, one.support).score, one.support_labels).backward()
    with torch.no_grad():
        for parameter in stepped.detector.parameters():
            parameter -= 0.05 * parameter.grad
    stepped.zero_grad()
    focal_loss(stepped.compare(one.references, one.query).score, one.query_labels).backward()
    close(first, {name: parameter.grad for name, parameter in stepped.detector.named_parameters()})


def test_no_inner_rate_is_plain_training():
    network, one = tiny().train(), task(0)
    found = gradients(network, [one], 0.0)
    network.zero_grad()
    focal_loss(network.compare(one.references, one.query).score, one.query_labels).backward()
    close(found, {name: parameter.grad for name, parameter in network.detector.named_parameters()})


def test_tasks_count_alike_and_in_no_order():
    network, tasks = tiny(), [task(seed) for seed in range(3)]
    together = gradients(network, tasks, 0.05)
    apart = [gradients(network, [one], 0.05) for one in tasks]
    close(together, {name: sum(one[name] for one in apart) / 3 for name in together}, atol=1e-6, rtol=1e-4)
    close(together, gradients(network, tasks[::-1], 0.05), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_the_network_as_it_was_and_does_not_depend_on_its_mode(training):
    network = tiny().train(training)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = network.meta_loss([task(0)], 0.05)
    assert network.detector.training == training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    torch.testing.assert_close(found, tiny().train(not training).meta_loss([task(0)], 0.05))


@pytest.mark.parametrize("first_order", [True, False])
def test_an_image_that_is_the_only_reference_gives_no_nan(first_order):
    images = features(0, 4)
    one = (images[:1], images, labels(4), images, labels(4))
    found = gradients(tiny(), [one], 0.05, first_order=first_order)
    assert all(value.isfinite().all() for value in found.values())


def test_sets_without_statistics_and_no_tasks_are_refused():
    with pytest.raises(BadRequest, match="a task's set of 1; wanted at least 2 images to learn from"):
        tiny().meta_loss([task(0, support=1)], 0.05)
    with pytest.raises(BadRequest, match="no task to learn from; wanted one of each category"):
        tiny().meta_loss([], 0.05)
