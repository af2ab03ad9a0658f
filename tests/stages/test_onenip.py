"""OneNIP through the same stages, from the embedded benchmark's own normal images: the README's commands, small."""

import json

import pytest
import yaml

from tests.conftest import ROOT
from tests.stages.conftest import STAGES, copy_project, stages_run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = copy_project(tmp_path_factory.mktemp("onenip"))
    (made.root / "params.yaml").write_text((ROOT / "configs" / "onenip_multiclass.yaml").read_text())
    made.set(
        size_px=64,
        scenes__images=4,
        parts__train_images=4,
        parts__good_images=2,
        parts__defect_images=4,
        parts__side_px=64,
        index__val_share=0.25,
        synth__pairs_per_image=2,
        synth__pairs_per_shard=8,
        model__encoder="test_resnet",
        model__weights="none",
        model__encoder_layers=1,
        model__decoder_layers=1,
        train__epochs=2,
        train__batch_size=8,
        evaluate__seeds=2,
        evaluate__variants=["one", "each", "pool"],
    )
    made.commit()
    return made


@pytest.fixture(scope="module")
def finished(project):
    shown = project.run("dvc", "repro")
    assert stages_run(shown) == [stage for stage in STAGES if stage != "inputs"]
    assert "the index has no instances, so nothing is removed" in shown
    assert "index: normal images of 4 categories: board 4, nut 4, terrazzo 4, weave 4" in shown
    return project


def test_pairs_are_of_the_categories_and_of_the_asked_kinds(finished):
    manifest = json.loads((finished.root / "data/pairs/manifest.json").read_text())
    assert manifest["groups"] == dict.fromkeys(("board", "nut", "terrazzo", "weave"), 8)
    assert {kind for kind, count in manifest["kinds"].items() if count} <= {"local", "cutpaste"}
    shown = finished.run("python", "-m", "pipeline.inspect", "shard_0000", "--verify")
    assert "bytes and laws verified" in shown
    assert "categories: " in shown


def test_the_same_stages_train_and_score_it(finished):
    metrics = json.loads((finished.root / "reports/metrics.json").read_text())
    assert set(metrics["benchmark"]) == {"board", "nut", "terrazzo", "weave", "mean"}
    assert set(metrics["variant"]) == {"onenip each", "onenip pool"}
    assert set(metrics["baseline"]) == {"pixel_difference", "patchcore"}
    assert (finished.root / "models/onenip/best.ckpt").is_file()
    assert {path.name for path in (finished.root / "reports/train/pictures").iterdir()} >= {"augmented.png"}
    assert stages_run(finished.run("dvc", "repro")) == []
    finished.run("dvc", "plots", "show", "--out", "plots")
    page = (finished.root / "plots/index.html").read_text()
    assert all(f'"field": "{column}"' in page for column in ("onenip", "patchcore"))
    assert "cutpaste.tsv" in page


def test_the_commands_need_not_be_told_which_system_it_is(finished):
    checkpoint = "models/onenip/best.ckpt"
    said = finished.run("python", "-m", "model.weights", checkpoint)
    assert "this project's OneNIP, prompt dynamic, encoder test_resnet, for 64 x 64 px" in said
    normal, query = "data/parts/nut/train/good/000.png", "data/parts/nut/test/good/000.png"
    look = ("python", "-m", "model.predict", "--prompt", normal, "--query", query, "--out")
    finished.run("python", "-m", "model.export", "--checkpoint", checkpoint, "--out", "onenip.onnx")
    first, second = (
        finished.run(*look, f"{name}.png", "--checkpoint", name).splitlines()[-1]
        for name in (checkpoint, "onenip.onnx")
    )
    assert first == second
    assert first.startswith("score ")
    told = finished.run(*look, "heat.png", "--checkpoint", checkpoint, "--size", "96", status=2)
    assert "a OneNIP is of one size, here 64 x 64 px" in told


def test_metauas_learns_from_photographs_without_annotations(finished):
    """The same pairs, as changes between a normal image and its damaged twin."""
    demo = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    finished.set(
        model=demo["model"],
        train={**demo["train"], "epochs": 1, "batch_size": 8},
        evaluate={**demo["evaluate"], "size_px": None},
    )
    shown = finished.run("dvc", "repro")
    assert stages_run(shown) == ["train", "evaluate"]
    metrics = json.loads((finished.root / "reports/metrics.json").read_text())
    assert {"val_warped", "val_aligned", "benchmark"} <= set(metrics)
