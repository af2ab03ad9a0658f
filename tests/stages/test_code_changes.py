"""Code is edited between two runs: what its meaning makes is made again, and nothing else is thrown away."""

import re

import pytest

from pipeline.shards.format import read_manifest
from tests.stages.conftest import stages_run, stamps, trainings


def edit(project, path, old, new):
    file = project.root / path
    text = file.read_text()
    assert text.count(old) == 1, f"{path} has another text; mend this test"
    file.write_text(text.replace(old, new))


def kept(shown):
    """The stages that say that all of their shards are kept."""
    found = re.findall(r"(\w+): (\d+) of (\d+) shards are already there and kept", shown)
    return [stage for stage, there, wanted in found if there == wanted]


@pytest.fixture(scope="module")
def made(project):
    project.set(train__epochs=6)
    project.run("dvc", "repro", "synth", "parts")
    return project


def test_a_comment_or_a_docstring_keeps_every_shard_and_says_so(made):
    folders = [made.root / "data" / name for name in ("inpainted", "pairs")]
    before = [(read_manifest(folder).digest, stamps(folder)) for folder in folders]
    edit(made, "pipeline/changes/visible.py", '"""What counts', '# Why.\n"""It says what counts')
    edit(made, "pipeline/progress.py", "SECONDS_BETWEEN_LINES = 10.0", "SECONDS_BETWEEN_LINES = 5.0")

    shown = made.run("dvc", "repro", "synth")

    assert stages_run(shown) == ["inpaint", "synth"]
    assert kept(shown) == ["inpaint", "synth"]
    assert [(read_manifest(folder).digest, stamps(folder)) for folder in folders] == before


def test_a_constant_of_another_kind_of_change_keeps_what_was_inpainted(made):
    edit(made, "pipeline/changes/perlin.py", "STEP = 2.0**-6", "STEP = 2.0**-5")

    shown = made.run("dvc", "repro", "synth")

    assert kept(shown) == ["inpaint"]


def test_a_constant_of_the_filler_makes_every_shard_again(made):
    before = read_manifest(made.root / "data" / "inpainted").digest
    edit(made, "pipeline/changes/fillers.py", "OPENCV_RADIUS_PX = 2", "OPENCV_RADIUS_PX = 3")

    shown = made.run("dvc", "repro", "synth")

    assert stages_run(shown) == ["inpaint", "synth"]
    assert kept(shown) == []
    assert read_manifest(made.root / "data" / "inpainted").digest != before


def test_a_comment_in_the_middle_of_a_training_lets_it_go_on(made):
    made.interrupt("dvc", "repro", "train", when=lambda: trainings(made, "model/last.ckpt") != [])
    edit(made, "model/training/loop.py", "NAMED_PAIRS = 8", "NAMED_PAIRS = 8  # at most")
    edit(made, "model/training/display.py", "SECONDS_BETWEEN_LINES = 30.0", "SECONDS_BETWEEN_LINES = 20.0")
    edit(made, "model/pictures/sheet.py", 'COLOURS = "inferno"', 'COLOURS = "magma"')

    shown = made.run("dvc", "repro", "train")

    assert stages_run(shown) == ["train"]
    assert "train: going on after epoch" in shown


def test_the_report_is_no_part_of_the_training(made):
    made.run("dvc", "repro", "evaluate")
    edit(made, "model/report/report.py", "DIGITS = 6", "DIGITS = 5")

    shown = made.run("dvc", "repro", "evaluate")

    assert stages_run(shown) == ["evaluate"]
