"""`python -m model.evaluate` as a user runs it, on a small untrained network."""

import json
import sys

import pytest
import torch

from configs.errors import BadRequest, Failure
from model.evaluate import main
from model.metauas.metadata import CHECKPOINT, CHECKPOINT_VERSION
from model.metauas.network import MetaUAS
from tests.model.tiny_benchmark import make_category


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = MetaUAS("test_efficientnet", decoder_channels=(8, 8, 8, 8), freeze_encoder=False)
    path = tmp_path_factory.mktemp("models") / "best.ckpt"
    facts = {"version": CHECKPOINT_VERSION, "network": network.arguments, "size": [32, 64]}
    state = {f"network.{key}": value for key, value in network.state_dict().items()}
    torch.save({CHECKPOINT: facts, "state_dict": state}, path)
    return path


@pytest.fixture
def root(tmp_path):
    make_category(tmp_path / "plates/plate")
    make_category(tmp_path / "plates/bowl", grey=30)
    return tmp_path / "plates"


@pytest.fixture
def evaluate(checkpoint, root, monkeypatch):
    def run(*options):
        command = ["evaluate", "--checkpoint", str(checkpoint), "--root", str(root), *map(str, options)]
        monkeypatch.setattr(sys, "argv", command)
        main()

    return run


def test_one_command_writes_scores_tables_pictures_and_page(evaluate, tmp_path, capsys):
    out = tmp_path / "out/metrics.json"
    evaluate("--variant", "one", "best", "pool", "--shots", 2, "--shots-mean", "features", "--seeds", 2, "--out", out)
    metrics = json.loads(out.read_text())
    assert set(metrics["benchmark"]) == set(metrics["deviation"]["benchmark"]) == {"bowl", "plate", "mean"}
    assert set(metrics["variant"]) == {"metauas*", "metauas pool"}
    assert set(metrics["baseline"]) == {"pixel_difference", "patchcore"}
    assert (tmp_path / "out/metrics/report.html").is_file()
    shown = capsys.readouterr().out
    assert "| mean | metauas pool | 14 |" in shown
    assert "mean ± sample standard deviation over 2 draws" in shown


def test_both_protocols_score_what_is_asked_at_the_asked_size(evaluate, tmp_path):
    for protocol in ("exact", "paper"):
        out = tmp_path / f"{protocol}.json"
        evaluate(
            "--protocol", protocol, "--category", "plate", "--limit", 4, "--size", 64, "--device", "cpu", "--out", out
        )
        assert set(json.loads(out.read_text())["benchmark"]) == {"plate", "mean"}
        assert f"Protocol {protocol} at 64 x 64 px" in (out.with_suffix("") / "table.md").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "metrics"], r"--out metrics: wanted a file such as metrics\.json"),
        (["--out", "m.json", "--shots", "0"], r"--shots 0: Input should be greater than or equal to 1"),
        (["--out", "m.json", "--size", "100"], r"--size 100: Input should be a multiple of 32"),
        (["--out", "m.json", "--category", "cup"], r"no category cup; there are bowl, plate"),
        (["--out", "m.json", "--layout", "visa"], r"1cls\.csv: cannot be read"),
        (["--out", "m.json", "--checkpoint", "gone.ckpt"], r"gone\.ckpt: no such checkpoint"),
        (["--out", "m.json", "--device", "abacus"], r"--device abacus: "),
        (["--out", "p.json", "--prompts", "./p.json"], r"--out p\.json: would be written over a file that is read"),
        (
            ["--out", "m.json", "--prompts", "p.json", "--seeds", "5"],
            r"evaluate\.seeds = 5, but evaluate\.prompts names",
        ),
    ],
)
def test_a_wrong_request_is_one_line_with_status_2(evaluate, options, message):
    with pytest.raises(BadRequest, match=message) as caught:
        evaluate(*options)
    assert caught.value.status == 2


def test_a_missing_mask_is_work_that_failed(evaluate, root, tmp_path):
    (root / "plate/ground_truth/spot/001.png").unlink()
    with pytest.raises(Failure, match=r"plate/test/spot/001\.png: no mask; wanted") as caught:
        evaluate("--out", tmp_path / "m.json")
    assert caught.value.status == 1
