"""Against the numbers of the released network, which read its weights and features from the same rule."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model.encoders.clip import ClipSizes
from model.metacan.network import MetaCAN
from model.metacan.recipe import PAPER, RELEASED, outer_step

TASKS = ("first", "fifth")


@pytest.fixture(scope="module")
def oracle(shared):
    """The rule, what the released network made of it, and its tasks."""
    folder = shared / "reference"
    spec = importlib.util.spec_from_file_location("metacan_weights", folder / "metacan_weights.py")
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    tasks = {}
    for name in TASKS:
        references, sets = rule.episode(name, 2, rule.META[name])
        tasks[name] = tuple(map(torch.from_numpy, (references, *sets["support"], *sets["query"])))
    return SimpleNamespace(rule=rule, expected=np.load(folder / "metacan_parity.npz"), tasks=tasks)


@pytest.fixture(scope="module")
def built():
    return MetaCAN(blocks=(1, 2, 3), sizes=ClipSizes(blocks=3))  # features are given: its tower takes no part


@pytest.fixture
def network(oracle, built):
    """With the rule's weights; running statistics are where the release leaves them."""
    state = oracle.rule.state_dict(fresh_statistics=True)
    built.load_published({key: torch.as_tensor(value) for key, value in state.items()})
    built.set_text(*(torch.from_numpy(oracle.rule.text_features(kind)) for kind in ("normal", "abnormal")))
    built.zero_grad()
    return built


def agrees(found, wanted, tolerance):
    assert np.abs(found - wanted).max() < tolerance


def gradients_agree(oracle, network, group, share=1e-2):
    for name, parameter in network.detector.named_parameters():
        wanted = oracle.expected[f"{group}.{name}"]
        assert np.abs(oracle.rule.sample(parameter.grad) - wanted).max() < share * np.abs(wanted).max(), name


@torch.inference_mode()
@pytest.mark.parametrize("shots", [2, 4])
def test_scores_and_maps_are_those_of_the_released_network(oracle, network, shots):
    network.load_published({key: torch.as_tensor(value) for key, value in oracle.rule.state_dict().items()})
    name, labels = oracle.rule.EVAL
    references = torch.from_numpy(oracle.rule.patch_features(name, "reference", [0] * shots))
    query = torch.from_numpy(oracle.rule.patch_features(name, "query", labels))
    found = network.eval().compare(references, query)
    shown = network.detector.projection(query[:, 2] - references[:, 2].mean(dim=0)).numpy()
    fields = {"s": "score", "s_low": "low", "s_mid": "mid", "s_high": "high", "s_it": "text", "m_it": "text_map"}
    for key, field in {**fields, "maps": "maps"}.items():
        agrees(getattr(found, field).numpy(), oracle.expected[f"k{shots}.{key}"], 1e-4)
    agrees(shown if shots == 2 else oracle.rule.sample(shown), oracle.expected[f"k{shots}.D"], 1e-4)
    for row, kind in zip(network.detector.text, ("normal", "abnormal"), strict=True):
        agrees(row.numpy(), oracle.expected[f"text_{kind}"], 1e-6)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("group", "inner_lr"), [("", RELEASED.inner_lr), ("paper_lr.", PAPER.inner_lr)])
def test_the_meta_loss_and_its_second_order_gradient_are_those_of_the_released_network(
    oracle, network, name, group, inner_lr
):
    loss = network.meta_loss([oracle.tasks[name]], inner_lr)
    loss.backward()
    agrees(loss.item(), oracle.expected[f"meta.{name}.{group}query_loss"], 1e-6)
    gradients_agree(oracle, network, f"meta.{name}.{group}outer_grad")
    if not group:
        for parameter_name, parameter in network.detector.named_parameters():
            wanted = float(oracle.expected[f"meta.{name}.outer_norm.{parameter_name}"])
            assert float(parameter.grad.norm()) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("name", TASKS)
def test_the_first_order_gradient_is_the_oracle_s(oracle, network, name):
    network.meta_loss([oracle.tasks[name]], RELEASED.inner_lr, first_order=True).backward()
    gradients_agree(oracle, network, f"meta.{name}.first_order_grad")


def test_two_tasks_weigh_half_each(oracle, network):
    network.meta_loss([oracle.tasks[name] for name in TASKS], RELEASED.inner_lr).backward()
    for name, parameter in network.detector.named_parameters():
        first, fifth = (oracle.expected[f"meta.{one}.outer_grad.{name}"] for one in TASKS)
        wanted = (first + fifth) / 2
        assert np.abs(oracle.rule.sample(parameter.grad) - wanted).max() < 1e-2 * np.abs(wanted).max(), name


def test_a_released_step_is_the_release_s(oracle, network):
    tasks = [oracle.tasks[name] for name in TASKS]
    optimizer = torch.optim.Adam(network.detector.parameters(), lr=RELEASED.outer_lr)
    loss = outer_step(network, tasks, optimizer, RELEASED)
    agrees(loss, oracle.expected["meta.released.loss"], 1e-6)
    gradients_agree(oracle, network, "meta.released.outer_grad")
    state = network.detector.state_dict()
    for name in state.keys() - {"text"}:
        wanted = oracle.expected.get(f"meta.released.after_step.{name}")
        if "running" in name:
            assert np.array_equal(oracle.rule.sample(state[name]), wanted)
        elif not name.endswith("num_batches_tracked"):
            agrees(oracle.rule.sample(state[name]), wanted, 2.1e-3)


def test_the_keys_are_the_release_s(oracle, network):
    tensors = {key: tuple(value.shape) for key, value in network.published_tensors().items()}
    assert tensors == oracle.rule.shapes()
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 1_777_615
