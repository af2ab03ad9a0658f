"""Faults caused for real in the middle of `synth`; then the same command finishes, with the bytes of a quiet run."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.shards.format import shard_names
from tests.stages.conftest import PATIENCE_S, Project
from tests.stages.test_store import Service

SYNTH = ("python", "-m", "stages.synth")


@pytest.fixture(scope="module")
def quiet(project) -> dict:
    """The manifest of a run that nothing disturbed; the project then waits for its pairs to be made."""
    project.set(synth__pairs_per_image=20, synth__pairs_per_shard=32)
    project.run("dvc", "repro", "synth")
    made = manifest(project)
    assert len(made["shards"]) > 10
    return made


@pytest.fixture
def shelf(project, quiet) -> Path:
    """Where the shards are made, empty."""
    folder = project.root / ".work" / "shards" / "synth"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def made_in(shelf: Path) -> list[Path]:
    return list(shelf.glob("*.zarr"))


def manifest(project) -> dict:
    return json.loads((project.root / "data" / "pairs" / "manifest.json").read_text())


def wait_until(holds, running: subprocess.Popen) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers_of(running: subprocess.Popen) -> list[int]:
    """The worker processes of a run: those of its children that Python's multiprocessing spawned."""
    found = []
    for task in Path(f"/proc/{running.pid}/task").iterdir():
        children = (task / "children").read_text().split()
        found += [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return found


def goes_on(project: Project, shelf: Path, quiet: dict) -> str:
    """The same command again: what it printed. Its bytes are the quiet run's, and nothing is left aside."""
    shown = project.run(*SYNTH)
    assert manifest(project) == quiet
    folder = project.root / "data" / "pairs"
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        "records.parquet",
        *(f"{name}.zarr" for name in shard_names(folder)),
    }
    assert list(shelf.iterdir()) == made_in(shelf)
    project.run("python", "-m", "pipeline.inspect", "all", "--verify", "--sample", "1")
    return shown


def test_a_killed_worker_is_replaced_and_the_run_finishes(project, quiet, shelf):
    running = project.start(*SYNTH)
    wait_until(lambda: list(shelf.glob("*.partial*")) and made_in(shelf), running)

    os.kill(workers_of(running)[0], signal.SIGKILL)

    shown = running.communicate(timeout=PATIENCE_S)[0]
    assert running.returncode == 0, shown
    assert "Traceback" not in shown
    assert manifest(project) == quiet
    goes_on(project, shelf, quiet)


def test_a_killed_run_goes_on_with_the_shards_it_has(project, quiet, shelf):
    running = project.start(*SYNTH)
    wait_until(lambda: len(made_in(shelf)) >= 3, running)

    running.kill()  # the run alone: its workers must end by themselves
    running.communicate(timeout=PATIENCE_S)

    kept = len(made_in(shelf))
    assert kept < len(quiet["shards"])
    assert not (project.root / "data" / "pairs" / "manifest.json").exists()
    (shelf / "0.partial-left").mkdir()
    shown = goes_on(project, shelf, quiet)
    assert f"{kept} of {len(quiet['shards'])} shards are already there and kept" in shown


def test_a_full_disk_fails_in_one_line_and_the_run_goes_on_when_there_is_room(project, quiet, shelf):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(shelf)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small tmpfs here")
    try:
        shown = project.run(*SYNTH, status=1)
        assert "No space left on device" in shown
        assert "what is finished is kept" in shown
        kept = len(made_in(shelf))
        assert 0 < kept < len(quiet["shards"])
        assert not list(shelf.glob("*.partial*"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(shelf)], check=True)
        shown = goes_on(project, shelf, quiet)
        assert f"{kept} of {len(quiet['shards'])} shards are already there and kept" in shown
    finally:
        subprocess.run(["umount", "--lazy", str(shelf)], check=True)


def test_workers_over_their_memory_limit_fail_in_one_line_that_names_it(project, quiet, shelf):
    project.set(cluster__memory_limit="120 MiB")

    shown = project.run(*SYNTH, status=1)

    # Dask gives up on the shard, or on starting workers, whichever comes first.
    assert "workers died one after another" in shown or "error: no worker is left" in shown
    assert "raise cluster.memory_limit" in shown
    project.set(cluster__memory_limit="1 GiB")
    goes_on(project, shelf, quiet)


def test_a_scheduler_that_dies_fails_in_one_line_and_the_run_goes_on_elsewhere(project, quiet, shelf, tmp_path):
    env = project.environment | {"PYTHONPATH": str(project.root)}
    command = ("dask", "scheduler", "--port", "0", "--dashboard-address", ":0")
    with Service(tmp_path / "scheduler", *command, env=env) as scheduler:
        address = scheduler.says("Scheduler at:")
        project.set(cluster__address=address)
        with Service(tmp_path / "worker", "dask", "worker", address, "--nthreads", "1", "--no-nanny", env=env):
            running = project.start(*SYNTH)
            wait_until(lambda: made_in(shelf), running)

            scheduler.process.kill()

            shown = running.communicate(timeout=PATIENCE_S)[0]
    project.set(cluster__address=None)
    assert running.returncode == 1
    assert "error: the Dask scheduler is gone; what is finished is kept" in shown
    assert "Traceback" not in shown
    assert "shards are already there and kept" in goes_on(project, shelf, quiet)


def test_a_standing_worker_refuses_when_the_code_was_edited_under_it(project, quiet, shelf, tmp_path):
    """It would make shards by the old code and stamp them with the new."""
    env = project.environment | {"PYTHONPATH": str(project.root)}
    file = project.root / "pipeline" / "changes" / "local.py"
    text = file.read_text()
    with Service(
        tmp_path / "scheduler", "dask", "scheduler", "--port", "0", "--dashboard-address", ":0", env=env
    ) as one:
        address = one.says("Scheduler at:")
        project.set(cluster__address=address)
        with Service(tmp_path / "worker", "dask", "worker", address, "--nthreads", "1", "--no-nanny", env=env):
            project.run(*SYNTH)
            file.write_text(text.replace("draw.texture_weight", "0.5 * draw.texture_weight"))
            shown = project.run(*SYNTH, status=1)
    file.write_text(text)
    project.set(cluster__address=None)
    assert "error: this worker runs other code" in shown
    assert "restart the workers, and run the same command again" in shown
    assert len(made_in(shelf)) == len(quiet["shards"])
    goes_on(project, shelf, quiet)


def test_dvc_repro_after_a_deleted_shard_remakes_nothing_that_is_on_the_shelf(project, quiet, shelf):
    project.run("dvc", "repro", "synth")
    assert manifest(project) == quiet
    shutil.rmtree(project.root / "data" / "pairs" / "shard_0003.zarr")

    shown = project.run("dvc", "repro", "--force", "--single-item", "synth")

    assert f"synth: {len(quiet['shards'])} of {len(quiet['shards'])} shards are already there and kept" in shown
    assert manifest(project) == quiet
