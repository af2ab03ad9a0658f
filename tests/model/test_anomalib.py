"""MetaUAS under anomalib's own command; `make test-anomalib` makes the environment that it takes."""

import json
import re
import subprocess
import sys

import pytest
import torch

from model.metauas.network import MetaUAS
from tests.conftest import ROOT
from tests.model.checkpoints import save_checkpoint
from tests.model.lively import lively
from tests.model.tiny_benchmark import SIZE, make_category

pytest.importorskip("anomalib", reason="no anomalib here; `make test-anomalib` makes an environment that has it")

# `model` first, for a torchvision that does not fit its torch; where it does, plain `anomalib` works.
COMMAND = "import model; from anomalib.cli.cli import main; main()"
SCORES = {"I-AUROC": "image_AUROC", "P-AUROC": "pixel_AUROC"}


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    network = lively(MetaUAS(encoder="test_resnet", decoder_channels=(16, 16, 8, 8), similarity="cosine"))
    save_checkpoint(tmp_path / "best.ckpt", network, size=(2 * SIZE[0], 2 * SIZE[1]))
    make_category(tmp_path / "root" / "nut", normals=1, good=3, bad=4)
    return tmp_path


def anomalib(folder, *words):
    data = {
        "--data": "Folder",
        "--data.name": "nut",
        "--data.root": str(folder / "root" / "nut"),
        "--data.normal_dir": "train/good",
        "--data.normal_test_dir": "test/good",
        "--data.abnormal_dir": "test/spot",
        "--data.mask_dir": "ground_truth/spot",
        "--data.val_split_mode": "same_as_test",  # otherwise half of the test images are not tested
        "--data.num_workers": "0",
        "--trainer.accelerator": "cpu",
    }
    model = ["--model", "model.anomalib.MetaUas", "--model.visualizer", "false", *words]
    command = [sys.executable, "-c", COMMAND, "test", *model, *(word for pair in data.items() for word in pair)]
    return subprocess.run(
        command,
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_command_gives_our_scores(folder):
    checkpoint = str(folder / "best.ckpt")
    words = ["--checkpoint", checkpoint, "--root", str(folder / "root"), "--out", str(folder / "ours.json")]
    subprocess.run([sys.executable, "-m", "model.evaluate", *words], cwd=ROOT, check=True)
    ours = json.loads((folder / "ours.json").read_text())["benchmark"]["nut"]

    prompt = str(folder / "root" / "nut" / "train" / "good" / "000.png")
    ended = anomalib(folder, "--model.checkpoint", checkpoint, "--model.prompt", f"[{prompt}]")

    assert ended.returncode == 0, ended.stderr[-2000:]
    for own, its in SCORES.items():
        found = float(re.search(rf"{its}\W+([\d.]+)", ended.stdout)[1])
        assert found == pytest.approx(ours[own], abs=1e-4), own


def test_a_prompt_that_is_not_there_is_told(folder):
    ended = anomalib(folder, "--model.checkpoint", str(folder / "best.ckpt"), "--model.prompt", "[none.png]")
    assert ended.returncode
    assert "none.png: no image there" in ended.stderr


ROUND_TRIP = """
import sys
import model
import torch
from anomalib.engine import Engine
from model.anomalib import MetaUas

checkpoint, prompt = sys.argv[1:]
made = MetaUas(checkpoint, prompt=prompt, visualizer=False)
engine = Engine(accelerator="cpu", devices=1, default_root_dir=".")
engine._setup_trainer(made)
engine.trainer.strategy.connect(made)
engine.trainer.save_checkpoint("m.ckpt")
again = MetaUas.load_from_checkpoint("m.ckpt")
image = torch.rand(2, 3, 90, 70)
for one in (made, again):
    one.eval()
seen = [one.model(one.pre_processor.transform(image)).anomaly_map for one in (made, again)]
assert seen[0].shape == (2, 1, 64, 128), seen[0].shape
assert torch.equal(*seen)
"""


def test_a_checkpoint_of_anomalib_looks_at_images_as_before(folder):
    words = [str(folder / "best.ckpt"), str(folder / "root" / "nut" / "train" / "good" / "000.png")]
    known = {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    ended = subprocess.run(
        [sys.executable, "-c", ROUND_TRIP, *words], cwd=folder, env=known, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


def test_more_shots_than_training_images_are_refused(folder):
    ended = anomalib(folder, "--model.checkpoint", str(folder / "best.ckpt"), "--model.k_shot", "2")
    assert ended.returncode
    assert "k_shot is 2; wanted 1 to 1" in ended.stderr
