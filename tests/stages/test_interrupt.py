"""Ctrl-C in the middle of a stage, then the same command again."""

import pytest

from pipeline.shards.format import shard_names
from tests.stages.conftest import stamps, trainings


@pytest.fixture(scope="module")
def project(project):
    project.set(synth__pairs_per_image=40, synth__pairs_per_shard=40, train__epochs=6)
    project.run("dvc", "repro", "inpaint")
    return project


def test_an_interrupted_synth_goes_on_with_the_shards_it_has(project):
    shelf = project.root / ".work" / "shards" / "synth"

    shown = project.interrupt("dvc", "repro", "synth", when=lambda: len(list(shelf.glob("*.zarr"))) >= 3)

    assert "interrupted: what is finished is kept" in shown
    kept = stamps(shelf)
    made = len(list(shelf.glob("*.zarr")))
    assert 3 <= made < 24
    assert not (project.root / "data" / "pairs" / "manifest.json").exists()

    shown = project.run("dvc", "repro", "synth")

    assert f"{made} of 24 shards are already there and kept" in shown
    assert len(shard_names(project.root / "data" / "pairs")) == 24
    after = stamps(shelf)
    assert all(after[path] == stamp for path, stamp in kept.items())
    assert not list(shelf.glob("*.partial*"))


def test_an_interrupted_training_goes_on_from_its_last_epoch(project):
    project.set(synth__pairs_per_image=2)
    project.run("dvc", "repro", "synth")

    project.interrupt("dvc", "repro", "train", when=lambda: trainings(project, "model/last.ckpt") != [])
    project.run("python", "-m", "pipeline.prune", "--delete")
    shown = project.run("dvc", "repro", "train")

    assert "train: going on after epoch" in shown
