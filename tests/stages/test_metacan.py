"""MetaCAN through the same stages, from the embedded benchmark's labels, on a small CLIP with random weights."""

import json
import shutil
from dataclasses import asdict

import pytest

from tests.conftest import ROOT
from tests.model.clip_file import SMALL, save_clip
from tests.stages.conftest import copy_project, stages_run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = copy_project(tmp_path_factory.mktemp("metacan"))
    (made.root / "params.yaml").write_text((ROOT / "configs" / "metacan_mvtec.yaml").read_text())
    save_clip(made.root / "clip.pt")
    (made.root / ".gitignore").write_text((made.root / ".gitignore").read_text() + "/clip.pt\n")
    made.set(
        data__images="data/parts",
        data__annotations="data/parts",
        parts__train_images=4,
        parts__good_images=4,
        parts__defect_images=8,
        parts__side_px=64,
        cluster__memory_limit="1 GiB",
        features__source="data/parts",
        features__clip__weights="clip.pt",
        features__clip__val_share=0.25,
        features__clip__blocks=[1, 2, 4],
        features__clip__towers=asdict(SMALL),
        features__clip__images_per_shard=16,
        model__hidden=20,
        train__epochs=2,
        train__steps_per_epoch=2,
        train__support=4,
        train__query=4,
        evaluate__layout="mvtec",
        evaluate__root="others",
        evaluate__clip_weights="clip.pt",
        evaluate__seeds=2,
    )
    assert stages_run(made.run("dvc", "repro", "parts")) == ["parts"]
    shutil.copytree(made.root / "data/parts", made.root / "others")  # which are not learned from
    made.commit()
    return made


@pytest.fixture(scope="module")
def finished(project):
    shown = project.run("dvc", "repro", "evaluate")
    assert stages_run(shown) == ["features", "train", "evaluate"]
    assert "features: 32 normal, 32 anomalous images in" in shown
    return project


def test_features_are_kept_by_task_and_training_scores_held_back_images(finished):
    manifest = json.loads((finished.root / "data/features/manifest.json").read_text())
    assert manifest["groups"] == dict.fromkeys(("board", "nut", "terrazzo", "weave"), 16)
    trained = json.loads((finished.root / "reports/train/metrics.json").read_text())
    assert set(trained["val"]) == {"loss", "i_auroc", "i_ap"}
    assert (finished.root / "reports/train/pictures/val_scores.png").is_file()
    assert stages_run(finished.run("dvc", "repro", "evaluate")) == []


def test_the_score_stands_beside_what_needs_no_training(finished):
    metrics = json.loads((finished.root / "reports/metrics.json").read_text())
    assert set(metrics["benchmark"]) == {"board", "nut", "terrazzo", "weave", "mean"}
    assert set(metrics["baseline"]) == {"pixel_difference", "patchcore", "levels"}
    assert "MetaCAN's own (Eq. 8)" in (finished.root / "reports/table.md").read_text()


def test_the_commands_take_it_with_its_clip_file(finished):
    checkpoint = "models/metacan/best.ckpt"
    said = finished.run("python", "-m", "model.weights", checkpoint)
    assert "this project's MetaCAN, of low, mid, high, text, trained with CLIP weights of sha256" in said
    normal, query = "data/parts/nut/train/good", "data/parts/nut/test/good/000.png"
    look = ("python", "-m", "model.predict", "--checkpoint", checkpoint, "--prompt", normal, "--query", query)
    shown = finished.run(*look, "--out", "heat.png", "--clip-weights", "clip.pt")
    assert "(MetaCAN's own, Eq. 8)" in shown
    told = finished.run(*look, "--out", "heat.png", status=2)
    assert "no CLIP weights (clip = None); download vit_b_16_plus_240" in told
