import importlib.util
import itertools

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from configs.errors import BadRequest
from model.encoders.backbone import Encoder
from model.metauas.network import MetaUAS
from model.metauas.published import PREPROCESSING, published_key
from tests.model.published_file import filled, published_shapes


@pytest.fixture(scope="module")
def state():
    return filled(published_shapes())


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "metauas-256.ckpt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def network(file):
    return MetaUAS.from_checkpoint(file)


def test_the_published_file_fills_every_tensor_of_the_paper_s_network(network, state):
    ours = network.state_dict()
    assert len(ours) == len(state) == 820
    assert {published_key(key) for key in ours} == state.keys()
    assert all(torch.equal(value, state[published_key(key)]) for key, value in ours.items())
    assert not any(module.training for module in network.modules())
    assert sum(p.numel() for p in network.parameters()) == 22_130_305
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 4_581_689


def test_the_stand_in_has_the_keys_and_shapes_of_the_published_one(shared):
    lines = (shared / "reference" / "metauas_state_dict.txt").read_text().splitlines()
    published = dict(line.split(" ", 1) for line in lines)
    assert {key: str(shape) for key, shape in published_shapes().items()} == published


def test_timm_s_weights_arrive_where_the_published_ones_do(network, state, tmp_path):
    names = {published_key(f"encoder.net.{key}"): key for key in network.encoder.net.state_dict()}
    timm_state = {names[key]: value for key, value in state.items() if key in names}
    whole = timm.create_model("tf_efficientnet_b4.aa_in1k").eval()
    whole.load_state_dict(
        timm_state | {f"classifier.{leaf}": getattr(whole.classifier, leaf) for leaf in ("weight", "bias")}
    )
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    encoder = Encoder("tf_efficientnet_b4.aa_in1k", str(tmp_path / "model.safetensors"), frozen=True)
    assert encoder.preprocessing == PREPROCESSING

    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    features = encoder(images)
    for ours, level in zip(network.encode(images), features, strict=True):
        torch.testing.assert_close(ours, level, atol=1e-4, rtol=1e-4)
    # timm's own forward knows nothing of our taps; but for the stem they are the same.
    mean, std = (torch.tensor(side).view(1, 3, 1, 1) for side in (PREPROCESSING.mean, PREPROCESSING.std))
    with torch.inference_mode():
        of_timm = whole.forward_intermediates((images - mean) / std, indices=[1, 2, 3, 4], intermediates_only=True)
    for ours, level in zip(features[1:], of_timm, strict=True):
        torch.testing.assert_close(ours, level, atol=1e-4, rtol=1e-4)


def reference(shared):
    folder = shared / "reference"
    spec = importlib.util.spec_from_file_location("reference_weights", folder / "reference_weights.py")
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    return rule, np.load(folder / "metauas_parity_256.npz")


def test_from_the_published_file_it_computes_what_the_published_network_does(shared, tmp_path):
    rule, expected = reference(shared)
    weights = {key: torch.as_tensor(value) for key, value in rule.reference_state_dict().items()}
    torch.save(weights, tmp_path / "metauas-256.ckpt")
    network = MetaUAS.from_checkpoint(tmp_path / "metauas-256.ckpt")
    prompt, query = map(torch.from_numpy, rule.reference_pair(256))
    with torch.inference_mode():
        probability = network(prompt, query).sigmoid().numpy()
        prompt, query = network.encode(prompt), network.encode(query)
        aligned = [torch.cat([q, p], dim=1) for q, p in zip(query[2:], network.align(prompt, query), strict=True)]
    taps = zip([f"tap_{level}" for level in range(2, 6)], query[1:], strict=True)
    for name, level in itertools.chain(taps, zip(("aligned_3", "aligned_4", "aligned_5"), aligned, strict=True)):
        assert np.abs(level.numpy() - expected[name]).max() < 1e-3 * np.abs(expected[name]).max(), name
    assert np.abs(probability - expected["probability"]).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("encoder._blocks.6._bn1.bias"), r"1 missing \(encoder\._blocks\.6\._bn1\.bias\)"),
        (lambda s: s.update(extra=torch.ones(1)), r"1 unexpected \(extra\)"),
        (lambda s: s.update({"mask_head.bias": torch.ones(2)}), r"1 of another shape \(mask_head\.bias\)"),
        (lambda s: s.update({"mask_head.bias": "a text"}), r"1 of another shape \(mask_head\.bias\)"),
    ],
)
def test_what_does_not_fit_in_a_published_file_is_named_as_the_file_names_it(state, tmp_path, change, said):
    changed = dict(state)
    change(changed)
    torch.save(changed, tmp_path / "changed.ckpt")
    with pytest.raises(BadRequest, match=f"changed.ckpt: keys do not fit the published MetaUAS: {said}"):
        MetaUAS.from_checkpoint(tmp_path / "changed.ckpt")


def test_published_weights_that_are_no_numbers_are_refused_as_the_file_names_them(state, tmp_path):
    changed = dict(state)
    key = "encoder._blocks.6._bn1.running_mean"
    changed[key] = changed[key].clone().fill_(torch.nan)
    torch.save(changed, tmp_path / "changed.ckpt")
    with pytest.raises(BadRequest, match=rf"1 of 820 tensors hold NaN or infinity, first {key} \(192 of 192 values\)"):
        MetaUAS.from_checkpoint(tmp_path / "changed.ckpt")
