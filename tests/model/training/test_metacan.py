"""MetaCAN as it learns: whole runs on a small folder of features."""

import hashlib
from dataclasses import asdict
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from configs.train import MetaCANTrainParams
from model.encoders import read_torch
from model.features import FeatureSet
from model.metacan import MetaCAN
from model.systems import open_network, system_of
from model.training import metacan
from model.training.metacan import MetaLearner, train_metacan
from model.training.places import Places
from tests.model.clip_file import SMALL, save_clip
from tests.model.features.tiny import write_small_features

TRAIN = {
    "epochs": 2,
    "steps_per_epoch": 3,
    "shots": 2,
    "support": 4,
    "query": 4,
    "inner_lr": 1.0e-3,
    "lr": 1.0e-2,
    "first_order": False,
    "only_last_task": False,
    "fresh_adam": False,
    "remember": True,
    "select_by": "val_i_auroc",
    "checkpoint_steps": 1,
    "keep_memory": False,
    "augment": None,
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    root = tmp_path_factory.mktemp("given")
    clip = save_clip(root / "clip.pt")
    write_small_features(root / "features", hashlib.sha256(clip.read_bytes()).hexdigest())
    return root / "features", clip


def params(clip, **recipe):
    said = {
        "weights": str(clip),
        "layout": "mvtec",
        "tasks": "groups",
        "least_photographs": 1,
        "val_share": 0.25,
        "blocks": [1, 2, 4],
        "towers": asdict(SMALL),
        "images_per_shard": 64,
        "store": None,
    }
    model = {"system": "metacan", "learns_from": "features", "terms": ["low", "mid", "high", "text"], "hidden": 20}
    values = {"seed": 0, "features": {"source": "", "clip": said}, "model": model, "train": TRAIN | recipe}
    return MetaCANTrainParams.model_validate(values)


def train(root, given, code="code", **recipe):
    features, clip = given
    train_metacan(
        params(clip, **recipe), Places(features, root / "blocks", root / "runs", root / "model", root / "curves"), code
    )
    return read_torch(root / "model" / "last.ckpt")


def same(first, second):
    return all(torch.equal(first["state_dict"][key], second["state_dict"][key]) for key in first["state_dict"])


def test_a_run_leaves_a_checkpoint_that_any_command_opens_and_a_picture(tmp_path, given):
    train(tmp_path, given)
    network = open_network(tmp_path / "model" / "best.ckpt", given[1])
    assert isinstance(network, MetaCAN)
    assert system_of(network) == "metacan"
    assert not network.training
    assert cv2.imread(str(tmp_path / "curves" / "pictures" / "val_scores.png")).shape[2] == 3


@pytest.mark.parametrize("recipe", [{}, {"fresh_adam": True, "remember": False, "only_last_task": True}])
def test_a_run_that_is_killed_anywhere_comes_to_the_same_weights(tmp_path, given, monkeypatch, capsys, recipe):
    given = partial(train, given=given, **recipe)
    whole = given(tmp_path / "whole")
    step = MetaLearner.step
    for killed_at in (2, 3, 5):
        root = tmp_path / str(killed_at)

        def killed(self, images, number, at=killed_at):
            if number == at + 1:
                raise KeyboardInterrupt
            return step(self, images, number)

        monkeypatch.setattr(MetaLearner, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            given(root)
        monkeypatch.setattr(MetaLearner, "step", step)
        again = given(root)
        assert same(whole, again)
        assert whole["metacan"]["history"] == again["metacan"]["history"]
    capsys.readouterr()
    given(tmp_path / "whole")
    assert "finished; nothing to do. Best epoch" in capsys.readouterr().out


def test_a_longer_run_goes_on_with_a_shorter_one(tmp_path, given, capsys):
    train(tmp_path, given, epochs=1)
    longer = train(tmp_path, given)
    assert "with train.epochs 2 instead of 1; that run stays as it is" in capsys.readouterr().out
    assert same(longer, train(tmp_path / "whole", given))


@pytest.mark.parametrize(
    "change", [{"inner_lr": 0.1}, {"first_order": True}, {"only_last_task": True}, {"fresh_adam": True}]
)
def test_each_part_of_the_recipe_tells(tmp_path, given, change):
    changed = {"inner_lr": 0.5, "epochs": 1} | change
    assert not same(train(tmp_path / "one", given, inner_lr=0.5, epochs=1), train(tmp_path / "other", given, **changed))


def test_statistics_that_are_not_remembered_stay_as_they_began(tmp_path, given):
    left, moved = (train(tmp_path / str(remember), given, remember=remember) for remember in (False, True))
    mean = "network.detector.diff_head.bn1.running_mean"
    assert not left["state_dict"][mean].any()
    assert moved["state_dict"][mean].any()


def test_the_best_is_the_last_where_the_recipe_says_so(tmp_path, given):
    train(tmp_path, given, select_by="last", epochs=3)
    best = read_torch(tmp_path / "model" / "best.ckpt")
    assert len(best["metacan"]["history"]) == 3


def test_it_learns_what_anomalies_share(tmp_path, given):
    """The anomaly is one direction in both tasks; held-back images of both are told apart by it."""
    said = train(tmp_path, given, epochs=4, steps_per_epoch=20, checkpoint_steps=100)
    history = said["metacan"]["history"]
    assert history[-1]["val/loss"] < history[0]["val/loss"]
    network = open_network(tmp_path / "model" / "best.ckpt", given[1])
    training, held = FeatureSet(given[0], "train"), FeatureSet(given[0], "val")
    references = training.read(training.places("screw", anomalous=False)[:2].tolist())
    text = {
        label: network.compare(references, held.read(held.places("screw", anomalous=label).tolist())).text
        for label in (False, True)
    }
    assert text[True].min() > text[False].max()


def test_a_loss_that_is_no_number_ends_the_run_with_a_word(tmp_path, given, monkeypatch):
    monkeypatch.setattr(metacan, "outer_step", lambda *_: np.nan)
    with pytest.raises(Failure, match=r"train: the loss is nan in outer step 1; lower train.lr"):
        train(tmp_path, given)


def test_too_few_images_and_another_clip_are_told(tmp_path, given):
    with pytest.raises(BadRequest, match="task bottle has 12 anomalous photographs"):
        train(tmp_path, given, support=40)
    other = save_clip(tmp_path / "other.pt", seed=1)
    with pytest.raises(
        Failure, match=r"train: the features in .* were made with .*, but params.yaml says .*; run `dvc repro features`"
    ):
        train(tmp_path, (given[0], other))
