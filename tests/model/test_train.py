import math
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from configs.errors import Failure
from configs.train import TrainParams
from model import train as training
from model.lightning_module import ChangeSegmentation, cosine
from model.metauas import CHECKPOINT, MetaUAS
from model.record import best_epoch
from model.train import Shuffle, train
from tests.model.tiny_pairs import write_square_shards

ROOT = Path(__file__).resolve().parents[2]


def params(**recipe) -> TrainParams:
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    values["model"] |= {"encoder": "test_resnet", "decoder_channels": [16, 16, 8, 8]}
    values["train"] |= {"epochs": 3, "batch_size": 3, "loader_workers": 0, "lr": 1.0e-3, **recipe}
    return TrainParams.model_validate(values)


@pytest.fixture
def run(tmp_path):
    """Train in `tmp_path/<name>` on tiny shards; the folder of the checkpoints."""
    write_square_shards(tmp_path / "pairs")

    def run(name, **recipe):
        train(params(**recipe), tmp_path / "pairs", tmp_path / name / "model", tmp_path / name / "curves", "code")
        return tmp_path / name / "model"

    return run


def weights(folder, which="last.ckpt"):
    return torch.load(folder / which, weights_only=True)["state_dict"]


def interrupt_in_epoch(monkeypatch, epoch):
    step = ChangeSegmentation.training_step

    def interrupted(self, batch, number):
        if self.current_epoch + 1 == epoch and number == 1:
            raise KeyboardInterrupt
        return step(self, batch, number)

    monkeypatch.setattr(ChangeSegmentation, "training_step", interrupted)


def test_training_leaves_checkpoints_that_load_and_curves_that_have_every_epoch(run, tmp_path):
    folder = run("a")
    network = MetaUAS.from_checkpoint(folder / "best.ckpt")
    assert network.size == (64, 64)
    assert not network.training
    said = torch.load(folder / "last.ckpt", weights_only=True)[CHECKPOINT]
    assert len(said["history"]) == 3
    assert all(math.isfinite(value) for point in said["history"] for value in point.values())
    for name in ("train/loss", "val/loss", "val/pixel_ap/all", "val/pixel_ap/inpaint"):
        rows = (tmp_path / "a" / "curves" / "plots" / "metrics" / f"{name}.tsv").read_text().splitlines()
        assert [row.split()[0] for row in rows] == ["step", "1", "2", "3"]
    assert not list(folder.glob("*.partial"))


def test_an_interrupted_and_resumed_run_ends_as_an_undisturbed_one(run, tmp_path, monkeypatch, capsys):
    undisturbed = run("a")
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, epoch=3)
        with pytest.raises(KeyboardInterrupt):
            run("b")
    resumed = run("b")
    assert "going on after epoch 2" in capsys.readouterr().out
    for which in ("last.ckpt", "best.ckpt"):
        expected = weights(undisturbed, which)
        assert all(torch.equal(value, expected[key]) for key, value in weights(resumed, which).items())
    loss = "curves/plots/metrics/train/loss.tsv"
    assert (tmp_path / "a" / loss).read_text() == (tmp_path / "b" / loss).read_text()


def test_a_finished_run_is_left_as_it_is_but_its_curves_are_written(run, tmp_path, capsys):
    folder = run("a")
    before = (folder / "last.ckpt").stat().st_mtime_ns
    loss = tmp_path / "a" / "curves" / "plots" / "metrics" / "train" / "loss.tsv"
    curve = loss.read_text()
    loss.unlink()
    run("a")
    assert "finished; nothing to do" in capsys.readouterr().out
    assert (folder / "last.ckpt").stat().st_mtime_ns == before
    assert loss.read_text() == curve


def test_other_parameters_start_anew_and_say_so(run, capsys):
    run("a", epochs=1)
    folder = run("a", epochs=1, lr=2.0e-3)
    assert "of other parameters, pairs, seed or code; starting anew" in capsys.readouterr().out
    assert len(torch.load(folder / "last.ckpt", weights_only=True)[CHECKPOINT]["history"]) == 1


def test_a_frozen_encoder_keeps_its_weights_while_the_rest_learns(run, monkeypatch):
    values = params(epochs=1).model_dump()
    values["model"]["freeze_encoder"] = True
    monkeypatch.setattr(f"{__name__}.params", lambda **_: TrainParams.model_validate(values))
    folder = run("a")

    torch.manual_seed(values["seed"])
    fresh = MetaUAS(**values["model"]).state_dict()
    for key, value in weights(folder).items():
        same = torch.equal(value, fresh[key.removeprefix("network.")])
        assert same == key.startswith("network.encoder.") or key.endswith("num_batches_tracked")


def test_a_loss_that_is_not_finite_names_the_pairs(run, monkeypatch):
    monkeypatch.setattr("model.lightning_module.masked_loss", lambda logits, _: logits.sum() * math.nan)
    with pytest.raises(
        Failure, match=r"the loss is nan in epoch 1, on pairs of images \[\d+, \d+, \d+\]; lower train.lr"
    ):
        run("a")


def test_loader_workers_do_not_change_the_result(run):
    alone, helped = weights(run("a", epochs=1)), weights(run("b", epochs=1, loader_workers=1))
    assert all(torch.equal(value, helped[key]) for key, value in alone.items())


def test_ctrl_c_leaves_with_status_130_and_keeps_the_last_epoch(tmp_path):
    write_square_shards(tmp_path / "data" / "pairs")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params(epochs=500).model_dump()))
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "interrupted: what is finished is kept" in said
    last = torch.load(tmp_path / "models" / "metauas" / "last.ckpt", weights_only=True)
    assert len(last[CHECKPOINT]["history"]) >= 2


def test_every_pair_comes_once_an_epoch_in_another_order():
    shuffle = Shuffle(50, seed=0)
    orders = []
    for epoch in (0, 1, 0):
        shuffle.set_epoch(epoch)
        orders.append(list(shuffle))
    assert sorted(orders[0]) == list(range(50))
    assert orders[0] == orders[2] != orders[1]


def test_the_schedule_warms_up_and_ends_near_zero():
    shares = [cosine(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.2)
    assert max(shares) == shares[5] == 1
    assert 0 < shares[-1] < 0.001


@pytest.mark.parametrize(("select_by", "best"), [("val/loss", 2), ("val/pixel_ap/all", 3)])
def test_the_best_epoch_is_the_first_of_the_best(select_by, best):
    points = [(0.5, 0.1), (0.2, 0.2), (0.2, 0.3), (0.3, 0.3)]
    history = [{"val/loss": loss, "val/pixel_ap/all": ap} for loss, ap in points]
    assert best_epoch(history, select_by) == best


def test_a_changed_weights_file_is_another_run(tmp_path):
    file = tmp_path / "weights.pth"
    values = params().model_dump()
    values["model"]["weights"] = str(file)
    digests = set()
    for content in (b"a", b"b"):
        file.write_bytes(content)
        digests.add(training.fingerprint(TrainParams.model_validate(values), "digest", "code"))
    assert len(digests) == 2
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
