import json
import os
import shutil
from importlib.metadata import version

import pytest
import torch

from configs.train import TrainParams
from model.metauas.metadata import CHECKPOINT
from model.training import runs
from model.training.metauas import train_metauas
from model.training.places import Places
from model.training.run import can_go_on
from model.training.run_state import RunState
from model.training.runs import settings_of
from tests.model.tiny_pairs import write_square_shards
from tests.model.tiny_training import params


@pytest.fixture
def run(tmp_path, capsys):
    """Train in `tmp_path/<name>` on tiny shards; what was said, and the folder in which the checkpoints are shown."""
    write_square_shards(tmp_path / "pairs")

    def run(name="a", code="code", **recipe):
        folder = tmp_path / name
        places = Places(tmp_path / "pairs", folder / "blocks", folder / "runs", folder / "model", folder / "curves")
        for shown in (places.model, places.curves):  # as DVC does before a stage
            shutil.rmtree(shown, ignore_errors=True)
        capsys.readouterr()
        train_metauas(params(**recipe), places, code)
        return capsys.readouterr().out, places.model

    return run


def weights(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def same(some, other):
    return some.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in some.items())


def said(folder):
    return torch.load(folder / "best.ckpt", weights_only=True)[CHECKPOINT]


def stop_after(monkeypatch, epochs):
    """Ctrl-C when so many epochs are closed."""
    close = RunState.close_epoch

    def closed(self, point):
        if len(self.history) == epochs:
            raise KeyboardInterrupt
        close(self, point)

    monkeypatch.setattr(RunState, "close_epoch", closed)


def test_going_back_to_earlier_settings_finds_their_run(run, tmp_path):
    _, folder = run(epochs=1)
    first = weights(folder)
    told, _ = run(epochs=1, lr=2.0e-3)
    assert "starting anew, with train.lr 0.002 instead of 0.001; the run before stays in" in told
    told, folder = run(epochs=1)
    assert "holds this run, finished; nothing to do" in told
    assert same(weights(folder), first)
    assert sorted(path.name for path in (tmp_path / "a" / "curves" / "pictures").iterdir()) == ["augmented.png"]


def test_an_unfinished_run_survives_others_and_goes_on_when_its_settings_come_back(run, monkeypatch):
    _, undisturbed = run("b", epochs=3)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(epochs=3)
    run(epochs=1, lr=2.0e-3)
    told, folder = run(epochs=3)
    assert "going on after epoch 2 of" in told
    assert same(weights(folder), weights(undisturbed))


def test_other_code_is_another_run_and_is_called_so(run):
    run(epochs=1)
    told, _ = run(epochs=1, code="other")
    assert "starting anew, with other code; the run before" in told


def test_more_epochs_at_a_constant_rate_go_on_to_what_they_would_have_been(run):
    _, whole = run("b", epochs=3, schedule="constant")
    _, shorter = run(epochs=2, schedule="constant")
    before = weights(shorter)
    told, longer = run(epochs=3, schedule="constant")
    assert "going on after epoch 2 of" in told
    assert "with train.epochs 3 instead of 2; that run stays as it is" in told
    assert same(weights(longer), weights(whole))
    assert said(longer)["began_with"] == [{"steps": 6, "train.epochs": 2}]
    _, again = run(epochs=2, schedule="constant")
    assert same(weights(again), before)


def test_more_epochs_under_a_schedule_are_another_run(run):
    run(epochs=1, schedule="cosine")
    told, _ = run(epochs=2, schedule="cosine")
    assert "starting anew, with train.epochs 2 instead of 1" in told


def test_a_smaller_device_batch_in_the_middle_goes_on_and_is_noted(run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(epochs=2, checkpoint_steps=1)
    told, folder = run(epochs=2, device_batch=1)
    assert "with train.device_batch 1 instead of None; that run stays as it is" in told
    assert said(folder)["began_with"] == [{"steps": 6, "train.device_batch": None}]
    told, _ = run("b", epochs=2, device_batch=1)
    told, _ = run("b", epochs=2)
    assert "starting anew" in told  # a finished one is no beginning


def test_an_upgraded_library_in_the_middle_goes_on_and_is_noted(run, monkeypatch):
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run(epochs=2)
    monkeypatch.undo()
    monkeypatch.setattr(runs, "version", lambda _: "99")
    told, folder = run(epochs=2)
    assert "version of torch 99 instead of" in told
    assert said(folder)["began_with"][0]["version of torch"] == version("torch")


@pytest.mark.parametrize(
    ("step", "batch", "epochs", "able"),
    [
        (0, 0, 0, True),
        (5, 2, 1, True),
        (9, 3, 2, True),  # the last epoch is not closed
        (6, 0, 2, True),
        (9, 0, 3, False),  # has nothing left to do
        (5, 0, 2, False),  # `max_pairs` ended the second epoch after two of three batches
    ],
)
def test_a_run_can_be_the_beginning_of_a_longer_one(step, batch, epochs, able):
    state = RunState(step=step, batch=batch, history=[{}] * epochs)
    assert can_go_on(state, steps=9, steps_an_epoch=3) == able


def test_a_copy_that_a_killed_process_left_is_no_run(run, tmp_path):
    run(epochs=1, schedule="constant")
    kept = next((tmp_path / "a" / "runs").iterdir())
    shutil.copytree(kept, kept.with_name("half.partial"))
    told, folder = run(epochs=2, schedule="constant")
    assert f"going on after epoch 1 of {kept}/" in told
    assert json.loads((folder / "run.json").read_text())["epochs"] == 2


def test_what_is_shown_can_be_linked_to_a_cache_and_is_never_written_into(run, tmp_path):
    _, folder = run(epochs=1, sheet_epochs=1)
    files = [path for shown in (folder, tmp_path / "a" / "curves" / "pictures") for path in shown.iterdir()]
    cached = []
    for number, path in enumerate(files):
        os.link(path, tmp_path / f"cached_{number}")
        cached.append((tmp_path / f"cached_{number}", path.read_bytes()))
    assert len(cached) == 5  # two checkpoints, run.json, two pictures
    run(epochs=2, sheet_epochs=1)
    run(epochs=1, sheet_epochs=1)
    assert all(path.read_bytes() == content for path, content in cached)


def test_a_changed_weights_file_is_another_run(tmp_path):
    file = tmp_path / "weights.pth"
    values = params().model_dump()
    values["model"]["weights"] = str(file)
    digests = set()
    for content in (b"a", b"b"):
        file.write_bytes(content)
        digests.add(settings_of(TrainParams.model_validate(values), "digest", "code")["weights"])
    assert len(digests) == 2
