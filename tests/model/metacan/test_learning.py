from dataclasses import replace

import pytest

from benchmarks import metacan_learning
from model.encoders.clip import ClipSizes
from model.metacan.recipe import PAPER, RELEASED


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    small = ClipSizes(image_px=48, width=32, blocks=3, heads=2, embedding=16)
    for name, value in {"SIZES": small, "LEARNED_FROM": 4, "HELD_OUT": 3, "NORMAL_SPREAD": 0.3}.items():
        monkeypatch.setattr(metacan_learning, name, value)


def learned(recipe, steps, seed):
    (found,) = metacan_learning.learn(metacan_learning.build(seed), recipe, seed, [steps])
    return found


@pytest.mark.parametrize("seed", [0, 3])
def test_meta_learning_finds_in_new_categories_what_anomalies_of_others_share(seed):
    before = metacan_learning.held_out(metacan_learning.build(seed), seed)
    found = learned(replace(PAPER, outer_lr=6e-3), 30, seed)
    assert before["score"] < 0.7
    assert found["floor"] == before["floor"] < 0.7  # nothing of it learns
    assert found["score"] > 0.9


def test_the_release_s_fifteen_steps_find_little():
    assert learned(RELEASED, RELEASED.steps, 0)["score"] < 0.7
