"""A copy of the project in a fresh git repository, driven by the real commands: dvc, git, python -m."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

PATIENCE_S = 300
STAGES = ("scenes", "parts", "inputs", "index", "inpaint", "synth", "quality", "card", "features", "train", "evaluate")


@dataclass(frozen=True)
class Project:
    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """This process's, with the environment's programs first, and no settings of the user's or of pytest's."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = {f"GIT_{role}_{field}": "tester@test" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}
        return {**os.environ, **git, **who, "PATH": path, "DVC_NO_ANALYTICS": "1"}

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a terminal does, both output streams together."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command and give back what it printed."""
        running = self.start(*command)
        shown = running.communicate(timeout=PATIENCE_S)[0]
        assert running.returncode == status, shown
        return shown

    def interrupt(self, *command: str, when: Callable[[], bool]) -> str:
        """Run a command and press Ctrl-C (SIGINT to its whole process group) once `when` holds."""
        running = self.start(*command)
        deadline = time.monotonic() + PATIENCE_S
        while not when():
            assert running.poll() is None, running.communicate()[0]
            assert time.monotonic() < deadline, "nothing to interrupt came"
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGINT)
        shown = running.communicate(timeout=PATIENCE_S)[0]
        assert running.returncode != 0, shown
        return shown

    def commit(self) -> None:
        """Commit all that git sees."""
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", "a small run")

    def set(self, **changes) -> None:
        """Change params.yaml; `changes` are dotted keys with __ for the dot."""
        path = self.root / "params.yaml"
        values = yaml.safe_load(path.read_text())
        for key, value in changes.items():
            *sections, name = key.split("__")
            section = values
            for part in sections:
                section = section[part]
            section[name] = value
        path.write_text(yaml.safe_dump(values, sort_keys=False))


def stages_run(shown: str) -> list[str]:
    """The stages that DVC says it ran, but for the one that always runs."""
    return [stage for stage in STAGES if f"Running stage '{stage}'" in shown and stage != "inputs"]


def stamps(folder: Path) -> dict[Path, int]:
    """When the pixels of each shard were written; DVC makes links of small files that happen to be equal."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*.zarr/pair/c/**/*") if path.is_file()}


def trainings(project: Project, file: str) -> list[Path]:
    """A file of each run of stage `train` that there is."""
    return sorted(project.root.glob(f".work/trainings/*/{file}"))


def copy_project(root: Path) -> Project:
    """What git would give a new user, and what is about to be committed."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.split()
    for name in names:
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    project = Project(root)
    project.run("git", "init", "--quiet")
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """The project with its parameters made small."""
    made = copy_project(tmp_path_factory.mktemp("project"))
    made.set(
        size_px=64,
        scenes__images=24,
        parts__train_images=2,
        parts__good_images=2,
        parts__defect_images=4,
        parts__side_px=64,
        index__val_share=0.25,
        inpaint__variants_per_image=1,
        inpaint__pairs_per_shard=8,
        synth__pairs_per_image=2,
        synth__pairs_per_shard=8,
        train__epochs=2,
        train__batch_size=8,
        evaluate__size_px=None,
    )
    made.commit()
    return made
