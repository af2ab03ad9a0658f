"""OneNIP as it learns: the laws of its step, its prompts, its validation, and whole runs on tiny shards."""

import math

import numpy as np
import pytest
import torch

from configs.errors import BadRequest
from configs.train import OneNIPTrainParams
from model.onenip import PREPROCESSING, OneNIP
from model.pairs import PairDataset, as_images
from model.systems import open_network
from model.training import onenip
from model.training.devices import Devices
from model.training.feed import Feed
from model.training.held import Held
from model.training.normals import Normals
from model.training.onenip import OneNIPLearner, make_learner, train_onenip
from model.training.places import Places
from tests.model.tiny_pairs import GROUPS, write_square_shards
from tests.model.tiny_training import fixed_norms

CPU = torch.device("cpu")
ALONE = Devices(CPU)
MODEL = {
    "system": "onenip",
    "learns_from": "pairs",
    "encoder": "test_resnet",
    "weights": "none",
    "prompt": "dynamic",
    "decoder": "v2",
    "refiner": True,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.1,
    "alpha": 0.5,
}
TRAIN = {
    "epochs": 3,
    "max_pairs": None,
    "batch_size": 3,
    "device_batch": None,
    "lr": 1.0e-3,
    "weight_decay": 1.0e-4,
    "schedule": "step",
    "clip_norm": 0.1,
    "select_by": "val_pixel_ap",
    "devices": 1,
    "precision": 32,
    "shuffle_pairs": 64,
    "loader_workers": 0,
    "cache_gb": 0,
    "checkpoint_steps": 1,
    "keep_memory": False,
    "sheet_epochs": None,
    "prompts": "random",
    "restoration": True,
    "standardised_start": True,
    "jitter": 20.0,
    "dice_weight": 0.5,
    "keep_features": True,
    "augment": None,
}


def params(model=None, **recipe):
    return OneNIPTrainParams.model_validate({"seed": 0, "model": MODEL | (model or {}), "train": TRAIN | recipe})


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("onenip") / "pairs"
    write_square_shards(root)
    return root


def learner(pairs, model=None, **recipe) -> OneNIPLearner:
    """One that always starts from the same weights."""
    torch.manual_seed(0)
    splits = (PairDataset(pairs, split) for split in ("train", "val"))
    one = make_learner(params(model, **recipe), *splits, steps=9, devices=ALONE)
    one.network.train()
    return one


def batch_of(pairs, count=5):
    return next(Feed(PairDataset(pairs, "train"), count).epoch(1))


def places(pairs, root):
    return Places(pairs, root / "blocks", root / "runs", root / "model", root / "curves")


def step(one, batch):
    return one.step(batch, one.draw(batch, 1), 1, 0, 0)


def gradients(one):
    return {name: value.grad for name, value in one.network.named_parameters() if value.grad is not None}


@pytest.mark.parametrize(
    "model", [{}, {"prompt": "static", "refiner": False}, {"prompt": "none", "refiner": False}], ids=str
)
def test_a_run_leaves_a_checkpoint_that_knows_its_system_and_its_scale(pairs, tmp_path, model, capsys):
    train_onenip(params(model, sheet_epochs=3), places(pairs, tmp_path), "code")

    network = open_network(tmp_path / "model" / "best.ckpt")
    assert isinstance(network, OneNIP)
    assert (network.size, network.arguments["prompt"]) == ((64, 64), model.get("prompt", "dynamic"))
    assert not network.training
    assert network.normaliser > 0
    history = torch.load(tmp_path / "model" / "last.ckpt", weights_only=True)["onenip"]["history"]
    assert len(history) == 3
    assert all(math.isfinite(value) for point in history for value in point.values())
    assert history[-1]["train/loss"] < history[0]["train/loss"]
    assert ("val/unchanged/images" in history[0]) == ("prompt" not in model)
    pictures = {path.name for path in (tmp_path / "curves" / "pictures").iterdir()}
    assert pictures == {"augmented.png", "val_epoch_003.png"}
    assert "val pixel AP" in capsys.readouterr().out


def test_a_killed_run_goes_on_to_the_same_weights(pairs, tmp_path, monkeypatch):
    train_onenip(params(), places(pairs, tmp_path / "whole"), "code")
    whole = OneNIPLearner.step

    def killed(self, batch, draws, epoch, number, at):
        if (epoch, number) == (2, 1):
            raise KeyboardInterrupt
        return whole(self, batch, draws, epoch, number, at)

    with monkeypatch.context() as patch:
        patch.setattr(OneNIPLearner, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_onenip(params(), places(pairs, tmp_path / "killed"), "code")
    train_onenip(params(), places(pairs, tmp_path / "killed"), "code")

    some, other = (
        torch.load(tmp_path / name / "model" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "killed")
    )
    assert all(torch.equal(value, other[key]) for key, value in some.items())


def test_a_run_that_was_killed_while_it_validated_goes_on(pairs, tmp_path, monkeypatch):
    """It then validates first of all, and learns from the features that were encoded for it."""
    whole = OneNIPLearner.validate

    def killed(self, held):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OneNIPLearner, "validate", killed)
        with pytest.raises(KeyboardInterrupt):
            train_onenip(params(), places(pairs, tmp_path), "code")
    assert OneNIPLearner.validate is whole
    train_onenip(params(), places(pairs, tmp_path), "code")
    assert len(torch.load(tmp_path / "model" / "last.ckpt", weights_only=True)["onenip"]["history"]) == 3


def test_a_loss_that_is_not_finite_is_blamed_on_the_pair_whose_features_are_not(pairs):
    one, batch = learner(pairs), batch_of(pairs)
    own = one.normals.of_pairs[batch["index"].tolist()]
    one.normals.features(range(len(one.normals)), CPU)
    one.normals._kept[own[2]] = torch.nan
    draws = onenip.Draws([int(own[0])] * len(own), None)
    found = one.step(batch, draws, 1, 0, 0)
    assert not math.isfinite(float(found.loss))
    assert found.of_pairs.isfinite().tolist() == [place != own[2] for place in own]


def test_the_gradient_of_parts_is_that_of_the_whole(pairs, monkeypatch):
    fixed_norms(monkeypatch)
    whole, parts = (learner(pairs, {"dropout": 0.0}, clip_norm=None, device_batch=most) for most in (None, 2))
    batch = batch_of(pairs)
    torch.testing.assert_close(step(parts, batch).loss, step(whole, batch).loss, rtol=1e-5, atol=1e-5)
    for name, value in gradients(whole).items():
        torch.testing.assert_close(gradients(parts)[name], value, rtol=1e-3, atol=1e-4)


def test_what_a_pair_draws_is_its_own_whatever_its_batch(pairs):
    one, batch = learner(pairs), batch_of(pairs)
    together = one.draw(batch, 2)
    for place in range(len(batch["index"])):
        alone = one.draw({name: values[place : place + 1] for name, values in batch.items()}, 2)
        assert alone.prompts == together.prompts[place : place + 1]
        assert torch.equal(alone.noise, together.noise[place : place + 1])
    assert not torch.equal(together.noise, one.draw(batch, 3).noise)


def test_prompts_are_normal_images_of_the_pair_s_group(pairs):
    one, batch = learner(pairs), batch_of(pairs)
    groups = PairDataset(pairs, "train").groups()
    seen = set()
    for epoch in range(1, 20):
        drawn = one.draw(batch, epoch).prompts
        seen |= set(drawn)
        for index, prompt in zip(batch["index"].tolist(), drawn, strict=True):
            assert groups[one.normals.first_pairs[prompt]] == groups[index]
    assert len(seen) > len(GROUPS)
    fixed = learner(pairs, prompts="fixed")
    assert {tuple(fixed.draw(batch, epoch).prompts) for epoch in range(1, 9)} == {tuple(fixed.draw(batch, 1).prompts)}
    assert len(set(fixed.draw(batch, 1).prompts)) == len(GROUPS)


def test_kept_features_are_those_encoded_each_time_but_for_rounding(pairs):
    kept, anew = (learner(pairs, keep_features=keep) for keep in (True, False))
    batch = batch_of(pairs)
    torch.testing.assert_close(step(kept, batch).loss, step(anew, batch).loss, rtol=2e-3, atol=1e-3)
    places = [0, 2, 0, 1]
    again = [kept.normals.features(places, CPU) for _ in range(2)]
    assert torch.equal(*again)
    assert torch.equal(again[0][0], again[0][2])
    expected = anew.normals.features(places, CPU)
    torch.testing.assert_close(again[0], expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(anew.normals.images([1])[0], as_images(PairDataset(pairs, "train")[1]["pair"][:1])[0])


def test_without_restoration_damaged_images_change_nothing(pairs):
    one = learner(pairs, {"refiner": False, "dropout": 0.0}, restoration=False)
    other = learner(pairs, {"refiner": False, "dropout": 0.0}, restoration=False)
    batch = batch_of(pairs)
    blank = batch | {"pair": torch.cat([batch["pair"][:, :1], torch.zeros_like(batch["pair"][:, 1:])], dim=1)}
    assert torch.equal(step(one, batch).loss, step(other, blank).loss)


def test_the_jitter_is_as_strong_as_asked(pairs):
    one = learner(pairs, jitter=5.0)
    batch = batch_of(pairs)
    torch.testing.assert_close(4 * one.draw(batch, 1).noise, learner(pairs).draw(batch, 1).noise)
    assert learner(pairs, jitter=0.0).draw(batch, 1).noise is None


def test_validation_scores_what_the_network_then_gives(pairs):
    one = learner(pairs, alpha := {"alpha": 0.25})
    held = Held(PairDataset(pairs, "val"), 2, 0, CPU)
    point = one.validate(held)
    (batch,) = Held(PairDataset(pairs, "val"), 3, 0, CPU).all()
    network = one.network.eval()
    prompts = network.encode(one.normals.images(one._fixed_prompts(batch["index"].tolist())))
    with torch.inference_mode():
        maps, masks = [], []
        for side, mask in ((0, torch.zeros_like(batch["mask"])), (1, batch["mask"])):
            maps.append(network.compare(prompts, network.encode(as_images(batch["pair"][:, side]))))
            masks.append(mask.float().unsqueeze(1))
        errors = maps[0].error
        torch.testing.assert_close(network.normaliser, (errors.min() + errors.max()) / 2, rtol=1e-3, atol=1e-3)
        scores = network.score_map(maps[1])
    order = scores.flatten().argsort(descending=True)
    hits = masks[1].flatten()[order]
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    assert point["val/pixel_ap/all"] == pytest.approx(float((precision * hits).sum() / hits.sum()), abs=5e-3)
    assert point["val/normaliser"] == float(network.normaliser)
    assert alpha["alpha"] == network.alpha
    assert 0 <= point["val/unchanged/pixels"] <= point["val/unchanged/images"] <= 1


def test_a_group_without_val_pairs_and_pairs_with_prompts_of_their_own_are_refused(pairs, monkeypatch):
    groups = PairDataset.groups
    with monkeypatch.context() as patch:
        patch.setattr(PairDataset, "groups", lambda self: groups(self) * (len(self) > 3))
        with pytest.raises(BadRequest, match=r"category screw has no val pair; raise index\.val_share"):
            learner(pairs)
    with monkeypatch.context() as patch:
        patch.setattr(PairDataset, "parameters", {"synth": {"ground_prob": 0.1}})
        with pytest.raises(BadRequest, match="show surfaces instead of their images"):
            learner(pairs)
    monkeypatch.setattr(PairDataset, "prompts_are", lambda self: np.ones(len(self), np.uint8))
    with pytest.raises(BadRequest, match="prompts that are not their originals"):
        learner(pairs)


def test_a_refiner_needs_damaged_images():
    with pytest.raises(ValueError, match="a refiner learns from damaged images"):
        params(restoration=False)


def test_a_published_file_is_where_learning_starts(pairs, monkeypatch, tmp_path):
    path = tmp_path / "ckpt.pth"
    path.write_bytes(b"")
    monkeypatch.setattr(onenip, "read_torch", lambda _: {"state_dict": "published"})
    monkeypatch.setattr(onenip, "published_kind", lambda content: "OneNIP" if content else None)
    loaded = []
    monkeypatch.setattr(OneNIP, "load_published", lambda self, content, path: loaded.append((content, path)))
    with pytest.raises(BadRequest, match="without its encoder"):
        learner(pairs, {"weights": str(path)}, standardised_start=False)
    monkeypatch.setattr(onenip, "want_encoder", lambda content, path: None)
    with pytest.raises(BadRequest, match=r"whose start that would undo; set it to false"):
        learner(pairs, {"weights": str(path)})
    loaded.clear()
    one = learner(pairs, {"weights": str(path)}, standardised_start=False)
    assert loaded == [({"state_dict": "published"}, path)]
    assert one.network.encoder.preprocessing == PREPROCESSING


def test_a_group_without_normal_images_has_no_prompt(pairs):
    one = learner(pairs)
    with pytest.raises(BadRequest, match="no normal image of category cable"):
        one.normals.draw(np.random.default_rng(0), "cable", "random")
    assert len(Normals(one.network, PairDataset(pairs, "train"), keep=False)) == 8


def test_two_devices_learn_together_what_one_learns_alone(pairs, tmp_path):
    """But for the statistics of batch normalisation, which is the refiner's alone: so without one, and no dropout."""
    model = {"refiner": False, "dropout": 0.0}
    for devices in (1, 2):
        recipe = {"devices": devices, "batch_size": 8, "epochs": 2}  # all pairs a batch: devices shuffle apart
        train_onenip(params(model, **recipe), places(pairs, tmp_path / str(devices)), "code")
    one, two = (
        torch.load(tmp_path / name / "model" / "last.ckpt", weights_only=True)["onenip"]["history"]
        for name in ("1", "2")
    )
    for alone, together in zip(one, two, strict=True):
        assert together["train/loss"] == pytest.approx(alone["train/loss"], rel=1e-4)
        assert together["val/loss"] == pytest.approx(alone["val/loss"], rel=1e-3)
