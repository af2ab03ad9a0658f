import copy
import weakref
from collections import Counter
from dataclasses import replace

import pytest
import torch

from model.metacan.recipe import PAPER, RELEASED, outer_step
from tests.model.metacan.tiny import task, tiny

TASKS = [task(seed) for seed in range(3)]


def adam(network):
    return torch.optim.Adam(network.detector.parameters(), lr=1e-3)


def weights(network):
    return {name: value.detach().clone() for name, value in network.detector.named_parameters()}


@pytest.mark.parametrize("recipe", [PAPER, replace(PAPER, first_order=True), replace(PAPER, inner_lr=0.5)])
def test_a_step_is_the_optimiser_s_down_the_gradient_of_all_tasks(recipe):
    network, wanted = tiny(), tiny()
    loss = wanted.meta_loss(TASKS, recipe.inner_lr, first_order=recipe.first_order)
    loss.backward()
    torch.optim.SGD(wanted.detector.parameters(), lr=0.1).step()
    found = outer_step(network, TASKS, torch.optim.SGD(network.detector.parameters(), lr=0.1), recipe)
    assert found == pytest.approx(loss.item())
    for name, value in weights(network).items():
        torch.testing.assert_close(value, weights(wanted)[name])


def test_the_release_learns_from_the_last_task_alone_and_divides_by_their_number():
    network, wanted = tiny(), tiny()
    loss = wanted.meta_loss(TASKS[-1:], RELEASED.inner_lr) / 3
    loss.backward()
    optimizer = torch.optim.SGD(wanted.detector.parameters(), lr=0.1)
    optimizer.step()
    optimizer = torch.optim.SGD(network.detector.parameters(), lr=0.1)
    assert outer_step(network, TASKS, optimizer, RELEASED) == pytest.approx(loss.item())
    for name, value in weights(network).items():
        torch.testing.assert_close(value, weights(wanted)[name])


def test_the_release_begins_adam_anew_each_step_and_so_moves_no_weight_further_than_its_rate():
    network = tiny()
    kept = copy.deepcopy(network)
    optimizers = adam(network), adam(kept)
    for number in range(3):
        before = weights(network)
        outer_step(network, [task(number)], optimizers[0], RELEASED)
        outer_step(kept, [task(number)], optimizers[1], replace(RELEASED, fresh_adam=False))
        for name, value in weights(network).items():
            assert (value - before[name]).abs().max() < 1.001e-3
    states = [next(iter(optimizer.state.values()))["step"] for optimizer in optimizers]
    assert states == [1, 3]
    assert any(not torch.equal(value, weights(kept)[name]) for name, value in weights(network).items())


def test_running_statistics_take_in_all_images_of_each_task_under_the_new_weights():
    network = tiny()
    norm = network.detector.diff_head.bn1
    seen = []
    outer_step(network, TASKS[:1], adam(network), PAPER)
    found = norm.running_mean.clone(), norm.running_var.clone()
    norm.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    network.remember(TASKS[0])
    assert len(seen[0]) == len(TASKS[0].support) + len(TASKS[0].query)
    torch.testing.assert_close(found[0], norm.momentum * seen[0].mean(dim=0))
    torch.testing.assert_close(found[1], 1 - norm.momentum + norm.momentum * seen[0].var(dim=0))


def test_the_release_leaves_the_running_statistics_at_0_and_1():
    network = tiny()
    outer_step(network, TASKS, adam(network), RELEASED)
    for norm in (network.detector.diff_head.bn1, network.detector.diff_head.bn2):
        assert not norm.running_mean.any()
        assert (norm.running_var == 1).all()


class Kept:
    """Counts the bytes that autograd keeps for the way back, weights apart."""

    def __init__(self):
        self.alive = Counter()
        self.sizes = {}
        self.peak = 0

    def pack(self, tensor):
        if isinstance(tensor, torch.nn.Parameter):
            return tensor
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        box = _Box(tensor)
        self.alive[key] += 1
        self.sizes[key] = storage.nbytes()
        weakref.finalize(box, self._drop, key)
        self.peak = max(self.peak, sum(self.sizes[key] for key in self.alive))
        return box

    def _drop(self, key):
        self.alive[key] -= 1
        if not self.alive[key]:
            del self.alive[key]


class _Box:
    def __init__(self, tensor):
        self.tensor = tensor


def peak_of(step):
    kept = Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda box: getattr(box, "tensor", box)):
        step()
    return kept.peak


def test_the_memory_of_a_step_is_that_of_one_task_however_many_there_are():
    network = tiny()
    optimizer = adam(network)
    one, three = (peak_of(lambda some=some: outer_step(network, some, optimizer, PAPER)) for some in (TASKS[:1], TASKS))
    assert three <= 1.1 * one
    assert peak_of(lambda: network.meta_loss(TASKS, PAPER.inner_lr).backward()) > 2 * one
    assert peak_of(lambda: outer_step(network, TASKS, optimizer, replace(PAPER, first_order=True))) < 0.8 * one
