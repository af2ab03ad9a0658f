import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from model.features.episodes import FeatureSet, check_tasks, draw_episode
from model.features.items import EVERY_TASK
from pipeline.shards import open_features
from tests.model.clip_file import SMALL
from tests.model.features.tiny import TASKS, write_small_features

SIZES = {"shots": 2, "support": 4, "query": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    write_small_features(folder)
    return folder


@pytest.fixture(scope="module")
def images(root):
    return FeatureSet(root, "train")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 30), task=st.sampled_from(TASKS))
def test_an_episode_is_of_its_task_balanced_and_shows_no_photograph_twice(images, seed, task):
    drawn = draw_episode(images, task, np.random.default_rng(seed), **SIZES)
    every = [*drawn.references, *drawn.support, *drawn.query]
    assert [len(part) for part in (drawn.references, drawn.support, drawn.query)] == [2, 4, 6]
    assert len({int(images.image_id[place]) for place in every}) == len(every)
    assert {str(images.groups[place]) for place in every} == {task}
    assert not images.anomalous[drawn.references].any()
    assert images.anomalous[drawn.support].sum() == 2
    assert images.anomalous[drawn.query].sum() == 3


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_both_sides_of_a_pair_never_meet_in_one_episode(seed):
    """Originals are every task's, and each photograph stands there both as it was and changed."""
    count = 12
    pairs = FeatureSet.__new__(FeatureSet)
    pairs.groups = np.array([EVERY_TASK] * count + ["paste"] * count)
    pairs.anomalous = np.arange(2 * count) >= count
    pairs.image_id = np.tile(np.arange(count), 2)
    drawn = draw_episode(pairs, "paste", np.random.default_rng(seed), shots=2, support=4, query=4)
    photographs = [int(pairs.image_id[place]) for place in (*drawn.references, *drawn.support, *drawn.query)]
    assert len(set(photographs)) == len(photographs)


def test_the_same_key_draws_the_same_and_another_another(images):
    draws = [draw_episode(images, "screw", np.random.default_rng([0, step, 1]), **SIZES) for step in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_a_task_of_too_few_photographs_is_told(images):
    with pytest.raises(BadRequest, match=r"train: task screw has 12 anomalous photographs .* takes 13; lower"):
        draw_episode(images, "screw", np.random.default_rng(0), shots=2, support=20, query=6)
    with pytest.raises(BadRequest, match=r"task screw has 12 normal photographs .* takes 13"):
        draw_episode(images, "screw", np.random.default_rng(0), shots=8, support=4, query=6)


def test_what_is_read_is_what_was_stored_across_shards(root, images):
    shards = [open_features(root, name) for name in ("shard_0000", "shard_0001")]
    stored = np.concatenate([np.asarray(shard.features[:]) for shard in shards])
    assert len(images) == len(stored) == 48
    places = [47, 0, 23, 24]
    assert torch.equal(images.read(places), torch.from_numpy(stored[places]).float())
    task = images.task(SimpleNamespace(references=[0, 1], support=[2, 7], query=[3, 8]))
    assert task.support.shape == (2, 3, SMALL.patches, SMALL.width)
    assert task.support_labels.tolist() == [0, 1]


def test_each_task_must_have_both_labels_held_back(root, images):
    held = FeatureSet(root, "val")
    check_tasks(images, held)
    for label, what in ((False, "normal"), (True, "anomalous")):
        lacking = copy.copy(held)
        lacking.anomalous = np.where(held.groups == "screw", not label, held.anomalous)
        with pytest.raises(BadRequest, match=f"train: task screw has no {what} val image; raise"):
            check_tasks(images, lacking)
    more = copy.copy(held)
    more.tasks = [*held.tasks, "nut"]
    with pytest.raises(BadRequest, match="task nut has val images and none to learn from"):
        check_tasks(images, more)


def test_an_empty_split_is_told(tmp_path):
    write_small_features(tmp_path, val=1)
    with pytest.raises(Failure, match="no features of split test"):
        FeatureSet(tmp_path, "test")
    with pytest.raises(BadRequest, match="are not finished; run `dvc repro`"):
        FeatureSet(tmp_path / "nowhere", "train")
