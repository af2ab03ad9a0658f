import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from configs.errors import Failure
from model.metauas.network import MetaUAS
from model.training.checkpoints import LAST, save_last
from model.training.devices import Devices
from model.training.metauas import MetaUASLearner
from model.training.run_state import RunState
from tests.model.tiny_training import params

ROOM = 3 << 20  # bytes, for a checkpoint of 2.7 MB and not for a second one


@pytest.fixture
def learner():
    return MetaUASLearner(MetaUAS(**params().model.arguments), params().train, 0, 3, Devices(torch.device("cpu")))


@pytest.fixture
def limited_files(tmp_path) -> Iterator[Path]:
    """A folder where no file may grow beyond `limit`, once that is set."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", tmp_path], capture_output=True
    ).returncode:
        pytest.skip("only root can mount a small disk")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def refused(folder: Path, learner: MetaUASLearner, reason: str) -> None:
    """Writing once more fails in one line, the file before stays, and nothing else does."""
    before = (folder / LAST).read_bytes()
    with pytest.raises(
        Failure, match=rf"last\.ckpt: [\d,]{{7,}} bytes cannot be written: {reason}; make room"
    ) as raised:
        save_last(folder, learner, RunState(step=2), {})
    assert "\n" not in str(raised.value)
    assert (folder / LAST).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [LAST]


def test_a_full_disk_keeps_the_checkpoint_before_and_nothing_else(small_disk, learner):
    save_last(small_disk, learner, RunState(step=1), {})
    refused(small_disk, learner, "No space left on device")


@pytest.mark.parametrize("share", [0.5, 0.9999])  # in the middle of tensors, and where the archive is closed
def test_a_file_that_may_not_grow_keeps_the_checkpoint_before_and_nothing_else(limited_files, learner, share):
    save_last(limited_files, learner, RunState(step=1), {})
    size = (limited_files / LAST).stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    refused(limited_files, learner, "File too large")


def test_a_folder_that_is_not_there_is_said_in_one_line(tmp_path, learner):
    with pytest.raises(Failure, match="No such file or directory"):
        save_last(tmp_path / "gone", learner, RunState(), {})


def test_an_error_that_is_not_of_the_disk_is_not_made_one(tmp_path, learner, monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        save_last(tmp_path, learner, RunState(), {})
    assert not list(tmp_path.iterdir())
