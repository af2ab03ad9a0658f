"""Going back to what was made before, and changing one photograph of many: the dear step is not taken again."""

import re
import shutil

import cv2

from pipeline.shards.format import read_manifest
from tests.stages.conftest import stages_run, trainings


def digest(project, name):
    return read_manifest(project.root / "data" / name).digest


def test_earlier_parameters_come_out_of_the_cache_and_leave_the_lock_as_it_was(project):
    project.run("dvc", "repro", "synth")
    lock = (project.root / "dvc.lock").read_text()
    first = digest(project, "pairs")
    project.set(inpaint__filler="opencv_ns")
    project.run("dvc", "repro", "synth")
    assert digest(project, "pairs") != first
    project.set(inpaint__filler="opencv_telea")

    shown = project.run("dvc", "repro", "synth")

    assert stages_run(shown) == []
    assert "Stage 'inpaint' is cached - skipping run" in shown
    assert "Stage 'synth' is cached - skipping run" in shown
    assert digest(project, "pairs") == first
    assert (project.root / "dvc.lock").read_text() == lock


def test_what_counts_as_visible_fills_nothing_again(project):
    project.set(visible__min_contrast=20)

    assert stages_run(project.run("dvc", "repro", "synth")) == ["synth"]


def test_one_photograph_of_another_content_remakes_the_shard_it_is_in(project):
    """The embedded photographs stand in for anybody's folder."""
    shutil.copytree(project.root / "data" / "scenes", project.root / "mine")
    project.set(data__images="mine/images", data__annotations="mine/instances.json")
    project.run("dvc", "repro", "inpaint")
    shards = len(read_manifest(project.root / "data" / "inpainted").shards)
    photograph = sorted((project.root / "mine" / "images").iterdir())[3]
    photograph.chmod(0o644)
    image = cv2.imread(str(photograph))
    cv2.imwrite(str(photograph), image[::-1])

    project.run("dvc", "repro", "--force", "--single-item", "index")
    shown = project.run("dvc", "repro", "inpaint")

    assert f"inpaint: {shards - 1} of {shards} shards are already there and kept" in shown


def test_abandoned_shards_are_listed_and_pruned_and_the_rest_stays(project):
    project.run("dvc", "repro", "synth")
    before = digest(project, "pairs")
    project.set(synth__local_prob=1.0)
    project.run("python", "-m", "stages.synth")  # made, and never known to DVC
    project.set(synth__local_prob=0.3)
    project.run("dvc", "repro", "--force", "--single-item", "synth")
    shelf = project.root / ".work" / "shards" / "synth"
    lying = {path.name for path in shelf.iterdir()}

    listed = project.run("python", "-m", "pipeline.prune")
    project.run("python", "-m", "pipeline.prune", "--delete")

    left = {path.name for path in shelf.iterdir()}
    assert left < lying
    assert all(f".work/shards/synth/{name}: " in listed for name in lying - left)
    assert "prune: 0 shards and trainings" in project.run("python", "-m", "pipeline.prune")
    assert "already there and kept" in project.run("dvc", "repro", "--force", "--single-item", "synth")
    assert digest(project, "pairs") == before


def test_an_earlier_training_is_found_again_by_the_cache_by_its_folder_and_by_what_is_shown(project):
    best = project.root / "models" / "metauas" / "best.ckpt"
    project.set(train__lr=0.001)
    project.run("dvc", "repro", "train")
    first = best.read_bytes()
    project.set(train__lr=0.002)
    shown = project.run("dvc", "repro", "train")
    assert "train: starting anew, with train.lr 0.002 instead of" in shown
    project.set(train__lr=0.001)

    assert "Stage 'train' is cached - skipping run" in project.run("dvc", "repro", "train")
    assert best.read_bytes() == first
    assert ".work/trainings" not in project.run("python", "-m", "pipeline.prune")  # DVC's cache shows them

    shutil.rmtree(project.root / ".dvc" / "cache" / "runs")
    assert "finished; nothing to do" in project.run("dvc", "repro", "--force", "train")
    assert best.read_bytes() == first

    for run in trainings(project, ""):
        shutil.rmtree(run)
    assert "finished; nothing to do" in project.run("dvc", "repro", "--force", "train")
    assert best.read_bytes() == first


def test_a_training_that_nothing_shows_is_listed_and_pruned(project):
    checkpoints = trainings(project, "model/last.ckpt")
    project.set(train__lr=0.003)
    project.interrupt(
        "python", "-m", "stages.train", when=lambda: len(trainings(project, "model/last.ckpt")) > len(checkpoints)
    )
    project.set(train__lr=0.004)
    project.run("python", "-m", "stages.train")  # never known to DVC
    project.set(train__lr=0.001)
    project.run("python", "-m", "stages.train")
    before = trainings(project, "")

    listed = project.run("python", "-m", "pipeline.prune", "--delete")
    (gone,) = set(before) - set(trainings(project, ""))
    listed_again = project.run("python", "-m", "pipeline.prune", "--delete", "--unfinished")
    (unfinished,) = set(before) - {gone} - set(trainings(project, ""))

    assert f"{gone.relative_to(project.root)}: " in listed
    # What is shown of a run may be one epoch behind its checkpoint.
    assert re.search(rf"{unfinished.relative_to(project.root)}: left in epoch [12], kept \(--unfinished\)", listed)
    assert f"{unfinished.relative_to(project.root)}: " in listed_again


def test_a_file_that_parameters_name_is_looked_at_each_time(project, tmp_path):
    """DVC cannot depend on a path that may be null."""
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    project.set(model__weights=str(weights))
    project.run("dvc", "repro", "inputs")
    weights.write_bytes(b"second")

    shown = project.run("dvc", "repro", "inputs")

    assert "inputs: model.weights is" in shown
    assert "`train` runs again" in shown
