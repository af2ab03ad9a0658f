import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch
import yaml

from configs.errors import Failure
from configs.train import TrainParams
from model.metauas import pixel_losses
from model.metauas.metadata import CHECKPOINT
from model.metauas.network import MetaUAS
from model.pairs.dataset import PairDataset
from model.training.metauas import MetaUASLearner, train_metauas
from model.training.places import Places
from model.training.run import count_steps
from model.training.run_state import best_epoch
from pipeline.linked import bytes_of
from pipeline.shards.opened import open_shard
from pipeline.shards.store import file_sizes
from tests.conftest import ROOT
from tests.model.tiny_pairs import in_store, write_square_shards
from tests.model.tiny_training import fixed_norms, params


@pytest.fixture
def run(tmp_path):
    """Train in `tmp_path/<name>` on tiny shards; the folder of the checkpoints."""
    write_square_shards(tmp_path / "pairs")

    def run(name, **recipe):
        train_metauas(params(**recipe), places(tmp_path, name), "code")
        return tmp_path / name / "model"

    return run


def places(root, name):
    blocks, runs, model, curves = (root / name / folder for folder in ("blocks", "runs", "model", "curves"))
    return Places(root / "pairs", blocks, runs, model, curves)


def newest(runs):
    """The folder of the checkpoints of the run that was begun last."""
    return max(runs.glob("*/model"), key=lambda folder: folder.stat().st_ctime_ns)


def weights(folder, which="last.ckpt"):
    return torch.load(folder / which, weights_only=True)["state_dict"]


def same(some, other):
    return some.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in some.items())


def progress(folder):
    """How far the run in a folder has come, while it runs."""
    path = folder / "last.ckpt"
    return torch.load(path, weights_only=True)["progress"] if path.exists() else {"step": 0}


def start_stage(folder, *launcher):
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "stages.train"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_at(monkeypatch, epoch, number):
    step = MetaUASLearner.step

    def killed(self, batch, draws, at_epoch, at_number, *rest):
        if (at_epoch, at_number) == (epoch, number):
            raise KeyboardInterrupt
        return step(self, batch, draws, at_epoch, at_number, *rest)

    monkeypatch.setattr(MetaUASLearner, "step", killed)


def test_training_leaves_checkpoints_that_load_and_curves_that_have_every_epoch(run, tmp_path):
    folder = run("a")
    network = MetaUAS.from_checkpoint(folder / "best.ckpt")
    assert network.size == (64, 64)
    assert not network.training
    said = torch.load(folder / "last.ckpt", weights_only=True)[CHECKPOINT]
    assert len(said["history"]) == 3
    assert all(math.isfinite(value) for point in said["history"] for value in point.values())
    for name in (
        "train/loss",
        "val/loss",
        "val/pixel_ap/all",
        "val/pixel_ap/inpaint",
        "val/unchanged/images",
        "val/unchanged/pixels",
        "val/attention_entropy/level_5",
        "val/self_match/level_2",
    ):
        rows = (tmp_path / "a" / "curves" / "plots" / "metrics" / f"{name}.tsv").read_text().splitlines()
        assert [row.split()[0] for row in rows] == ["step", "1", "2", "3"]
    assert not list(folder.glob("*.partial"))


def test_the_same_seed_gives_the_same_run_to_the_bit_and_another_one_another(run, tmp_path):
    assert same(weights(run("a", epochs=2)), weights(run("b", epochs=2)))
    curve = "curves/plots/metrics/train/loss.tsv"
    assert (tmp_path / "a" / curve).read_text() == (tmp_path / "b" / curve).read_text()
    values = params(epochs=2).model_dump() | {"seed": 1}
    train_metauas(TrainParams.model_validate(values), places(tmp_path, "c"), "code")
    assert not same(weights(tmp_path / "a" / "model"), weights(tmp_path / "c" / "model"))


@pytest.mark.parametrize(
    ("epoch", "number", "said"), [(3, 0, "going on after epoch 2 of"), (2, 2, "going on after batch 2 of epoch 2 of")]
)
def test_a_stopped_and_resumed_run_ends_as_an_undisturbed_one(run, tmp_path, monkeypatch, capsys, epoch, number, said):
    undisturbed = run("a")
    with monkeypatch.context() as patch:
        kill_at(patch, epoch, number)
        with pytest.raises(KeyboardInterrupt):
            run("b", checkpoint_steps=1)
    resumed = run("b", checkpoint_steps=2)  # how often is no other run
    assert said in capsys.readouterr().out
    for which in ("last.ckpt", "best.ckpt"):
        assert same(weights(undisturbed, which), weights(resumed, which))
    loss = "curves/plots/metrics/train/loss.tsv"
    assert (tmp_path / "a" / loss).read_text() == (tmp_path / "b" / loss).read_text()


def test_bf16_learns_and_resumes_to_the_same_weights(run, monkeypatch):
    recipe = {"epochs": 2, "precision": "bf16-mixed", "checkpoint_steps": 1}
    undisturbed = run("a", **recipe)
    with monkeypatch.context() as patch:
        kill_at(patch, 2, 1)
        with pytest.raises(KeyboardInterrupt):
            run("b", **recipe)
    assert same(weights(undisturbed), weights(run("b", **recipe)))
    assert all(math.isfinite(value) for point in progress(undisturbed)["history"] for value in point.values())


def test_a_run_killed_in_the_middle_of_an_epoch_ends_as_an_undisturbed_one(run, tmp_path):
    undisturbed = run("a", epochs=12)
    write_square_shards(tmp_path / "b" / "data" / "pairs")
    values = params(epochs=12, checkpoint_steps=1, loader_workers=1)
    (tmp_path / "b" / "params.yaml").write_text(yaml.safe_dump(values.model_dump()))
    process = start_stage(tmp_path / "b")
    while not list(tmp_path.glob("b/.work/trainings/*/model/last.ckpt")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    killed = newest(tmp_path / "b" / ".work" / "trainings")
    while progress(killed)["step"] < 4 or not progress(killed)["batch"]:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 4 <= progress(killed)["step"] < 36
    said, errors = start_stage(tmp_path / "b").communicate()
    assert "going on after" in said, errors
    for which in ("last.ckpt", "best.ckpt"):
        assert same(weights(undisturbed, which), weights(killed, which))
    assert progress(undisturbed) == progress(killed)
    assert not list(killed.glob("*.partial"))


def test_a_checkpoint_says_what_made_it_and_reads_without_running_code(run):
    folder = run("a", epochs=1)
    for which in ("best.ckpt", "last.ckpt"):
        said = torch.load(folder / which, weights_only=True)[CHECKPOINT]
        assert said["seed"] == 0
        assert TrainParams.model_validate(said | {"seed": 0}) == params(epochs=1)
        assert said["versions"]["torch"] == version("torch")
        assert said["pairs"] == PairDataset(folder.parent.parent / "pairs", "train").digest
        assert said["code"] == "code"


@pytest.mark.parametrize(("max_pairs", "steps", "epochs"), [(6, 2, 1), (7, 3, 1), (9, 4, 2), (100, 9, 3)])
def test_a_run_ends_with_the_batch_that_reaches_max_pairs(run, max_pairs, steps, epochs):
    assert count_steps([3, 3, 2], 3, max_pairs) == steps
    folder = run("a", max_pairs=max_pairs)
    last = progress(folder)
    assert (last["step"], last["batch"], len(last["history"])) == (steps, 0, epochs)
    assert progress(run("a", max_pairs=max_pairs)) == last


def test_a_finished_run_is_left_as_it_is_but_what_dvc_removes_before_a_stage_is_written(run, tmp_path, capsys):
    folder = run("a")
    before = (folder / "last.ckpt").stat().st_mtime_ns
    curves = tmp_path / "a" / "curves"
    loss, sheet = curves / "plots" / "metrics" / "train" / "loss.tsv", curves / "pictures" / "augmented.png"
    curve, drawn = loss.read_text(), sheet.read_bytes()
    loss.unlink()
    shutil.rmtree(sheet.parent)
    run("a")
    assert "finished; nothing to do" in capsys.readouterr().out
    assert (folder / "last.ckpt").stat().st_mtime_ns == before
    assert (folder / "last.ckpt").stat().st_nlink == 2  # shown, and where it was made
    assert loss.read_text() == curve
    assert sheet.read_bytes() == drawn


def test_a_frozen_encoder_keeps_its_weights_while_the_rest_learns(run, monkeypatch):
    values = params(epochs=1).model_dump()
    values["model"]["freeze_encoder"] = True
    monkeypatch.setattr(f"{__name__}.params", lambda **_: TrainParams.model_validate(values))
    folder = run("a")

    torch.manual_seed(values["seed"])
    fresh = MetaUAS(
        **{key: value for key, value in values["model"].items() if key not in ("system", "learns_from")}
    ).state_dict()
    for key, value in weights(folder).items():
        same = torch.equal(value, fresh[key.removeprefix("network.")])
        assert same == key.startswith("network.encoder.") or key.endswith("num_batches_tracked")


def test_a_loss_that_is_not_finite_names_its_pairs_and_keeps_the_last_checkpoint(run, monkeypatch, tmp_path):
    losses = pixel_losses

    def broken(logits, mask):
        each = losses(logits, mask)
        if torch.is_grad_enabled() and len(each) == 3:
            each[1] = math.nan
        return each

    monkeypatch.setattr("model.training.metauas.pixel_losses", broken)
    with pytest.raises(
        Failure,
        match=r"is nan in epoch 1, batch 1, on pairs shard_000\d\[\d\] \(image \d+\); lower train\.lr",
    ) as raised:
        run("a")
    assert "\n" not in str(raised.value)
    shard, row, image = re.search(r"(shard_\d+)\[(\d)\] \(image (\d+)\)", str(raised.value)).groups()
    assert open_shard(tmp_path / "pairs", shard).image_id[int(row)] == int(image)
    assert not list(tmp_path.rglob("last.ckpt"))


@pytest.mark.parametrize("device_batch", [1, 2])
def test_a_batch_in_parts_gives_the_same_weights_as_whole(run, monkeypatch, device_batch):
    fixed_norms(monkeypatch)
    whole = weights(run("a", epochs=1, clip_norm=0.1, batch_size=5))
    parts = weights(run("b", epochs=1, clip_norm=0.1, batch_size=5, device_batch=device_batch))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, atol=1e-5, rtol=1e-3)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["alone", "torchrun"])
def test_two_devices_learn_what_one_does_from_the_same_batch(run, tmp_path, monkeypatch, launcher):
    # One batch is the whole data set, so that one and two processes see the same pairs.
    recipe = {"epochs": 2, "batch_size": 8}
    folder = tmp_path / "two"
    write_square_shards(folder / "data" / "pairs")
    (folder / "params.yaml").write_text(yaml.safe_dump(params(**recipe, devices=2).model_dump()))
    (folder / "sitecustomize.py").write_text(
        "import torch\ntorch.nn.BatchNorm2d.train = lambda self, mode=True: torch.nn.Module.train(self, mode=False)\n"
    )
    process = start_stage(folder, *launcher)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert said.count("epoch 2/2") == 1  # one device speaks
    fixed_norms(monkeypatch)
    one, two = weights(run("one", **recipe)), weights(folder / "models" / "metauas")
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-5, rtol=1e-3)


def test_loader_workers_do_not_change_the_result(run):
    assert same(weights(run("a", epochs=1)), weights(run("b", epochs=1, loader_workers=1)))


def test_pairs_in_a_store_train_to_the_same_weights_and_are_kept_as_far_as_there_is_room(run, tmp_path):
    here = run("here", loader_workers=1)
    in_store(tmp_path / "pairs", "memory://training")
    sizes = file_sizes("memory://training")
    pixels = sum(size for name, size in sizes.items() if "/pair/c/" in name)

    there, half = run("there", loader_workers=1), run("half", loader_workers=1, cache_gb=pixels / 2e9)

    assert same(weights(here), weights(there))
    assert same(weights(here), weights(half))
    assert bytes_of(tmp_path / "there" / "blocks") > pixels
    assert 0 < bytes_of(tmp_path / "half" / "blocks") <= pixels / 2


def start_long(folder, **recipe):
    """A run that has closed its second epoch."""
    write_square_shards(folder / "data" / "pairs")
    (folder / "params.yaml").write_text(yaml.safe_dump(params(epochs=500, **recipe).model_dump()))
    process = start_stage(folder)
    assert any(line.startswith("epoch 2/") for line in process.stdout), process.communicate()[1]
    return process


@pytest.mark.parametrize("devices", [1, 2])
def test_ctrl_c_leaves_with_status_130_and_keeps_the_last_epoch(tmp_path, devices):
    process = start_long(tmp_path, devices=devices)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate()  # to the end of all processes
    assert process.returncode == 130, said
    assert said == "interrupted: what is finished is kept; run the same command again to go on\n"
    last = torch.load(newest(tmp_path / ".work" / "trainings") / "last.ckpt", weights_only=True)
    assert len(last[CHECKPOINT]["history"]) >= 2


def test_a_killed_command_leaves_no_process_that_goes_on(tmp_path):
    process = start_long(tmp_path, devices=2)
    process.kill()
    process.communicate(timeout=60)  # until the last of them has closed its output


@pytest.mark.parametrize(("select_by", "best"), [("val/loss", 2), ("val/pixel_ap/all", 3)])
def test_the_best_epoch_is_the_first_of_the_best(select_by, best):
    points = [(0.5, 0.1), (0.2, 0.2), (0.2, 0.3), (0.3, 0.3)]
    history = [{"val/loss": loss, "val/pixel_ap/all": ap} for loss, ap in points]
    assert best_epoch(history, select_by) == best
