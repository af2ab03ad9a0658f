"""The whole pipeline by its real commands, small: every stage, then the everyday uses the README promises."""

import json

import pytest

from tests.stages.conftest import STAGES, stages_run

SCORES = ("I-AUROC", "I-AP", "I-F1max", "P-AUROC", "P-AP", "P-F1max", "AUPRO")


def manifest(project) -> dict:
    return json.loads((project.root / "data/pairs/manifest.json").read_text())


@pytest.fixture(scope="module")
def finished(project):
    shown = project.run("dvc", "repro")
    assert stages_run(shown) == [stage for stage in STAGES if stage != "inputs"]
    return project


def test_every_stage_leaves_what_it_promises(finished):
    metrics = json.loads((finished.root / "reports/metrics.json").read_text())

    assert set(SCORES) <= set(metrics["benchmark"]["mean"])
    assert (finished.root / "models/metauas/best.ckpt").is_file()
    assert (finished.root / "models/metauas/last.ckpt").is_file()
    table = (finished.root / "reports/table.md").read_text()
    assert "| " in table
    assert "Val pairs at 64 x 64 px" in table
    assert list((finished.root / "reports/pictures").glob("*.png"))
    card = (finished.root / "reports/data/README.md").read_text()
    assert "# Change pairs of scenes drawn by code" in card
    assert "| same as the code |" in card
    assert (finished.root / "reports/data/areas.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/jpeg" in (finished.root / "reports/report.html").read_text()


def test_a_second_repro_does_nothing_and_says_so(finished):
    shown = finished.run("dvc", "repro")

    assert stages_run(shown) == []
    assert "didn't change, skipping" in shown


def test_every_stage_can_be_forced_on_what_it_made(finished):
    """DVC removes what does not persist before it runs a stage, even one that then has nothing to do."""
    shown = finished.run("dvc", "repro", "--force")

    assert stages_run(shown) == [stage for stage in STAGES if stage != "inputs"]
    assert "finished; nothing to do" in shown
    assert stages_run(finished.run("dvc", "repro")) == []


def test_no_dataset_lies_on_the_disk_twice(finished):
    """Files of data/ are links into the cache, which `reflink` first in cache.type would make copies on ext4."""
    for name in ("data/scenes", "data/inpainted", "data/pairs", "models/metauas"):
        files = [path for path in (finished.root / name).rglob("*") if path.is_file()]
        assert files
        assert all(path.is_symlink() or path.stat().st_nlink > 1 for path in files), name


def test_metrics_and_plots_are_shown_by_dvc(finished):
    assert "I-AUROC" in finished.run("dvc", "metrics", "show", "--md")

    finished.run("dvc", "plots", "show", "--out", "plots")

    page = (finished.root / "plots/index.html").read_text()
    assert all(curve in page for curve in ("train/loss.tsv", "val/loss.tsv", "all.tsv", "paste.tsv"))
    assert all(f'"field": "{column}"' in page for column in ("metauas", "patchcore", "anomalous"))  # of one table each


def test_the_quality_of_the_pairs_is_shown_by_dvc(finished):
    quality = json.loads((finished.root / "reports/quality/metrics.json").read_text())

    made = manifest(finished)
    pairs = sum(made["kinds"].values())
    assert quality["all"] == {"made": pairs, "distinct": made["distinct"]}
    assert made["distinct"] == pairs
    assert sum(own.get("pairs", 0) for own in quality.values()) == pairs
    for kind in ("inpaint", "paste", "local"):
        assert quality[kind]["visible share of mask"] > 0.5
        assert (finished.root / f"reports/quality/sheets/{kind}.png").read_bytes().startswith(b"\x89PNG")

    finished.run("dvc", "plots", "show", "--out", "quality-plots")

    page = (finished.root / "quality-plots/index.html").read_text()
    assert all(
        plot in page for plot in ("areas of the masks", "differ visibly", "across the masks", "sheets_local.png")
    )


def test_inspect_tells_of_a_shard_and_lists_what_there_is(finished):
    shown = finished.run("python", "-m", "pipeline.inspect", "shard_0000", "--png", "sheet.png", "--verify")

    first = manifest(finished)["shards"][0]
    assert f"shard_0000: {first['pairs']} pairs, {first['distinct']} distinct, train" in shown
    assert (finished.root / "sheet.png").read_bytes().startswith(b"\x89PNG")
    shown = finished.run("python", "-m", "pipeline.inspect", "shard_0099", status=2)
    assert "error: no shard_0099 in data/pairs (shards there: shard_0000 .. shard_00" in shown


def test_an_experiment_with_every_kind_re_runs_synth_and_what_follows_alone(finished):
    chances = ["defect_prob=0.6", "ground_prob=0.5", "variation_prob=0.7", "unchanged_prob=0.1"]
    settings = [word for chance in chances for word in ("--set-param", f"synth.{chance}")]
    finished.commit()

    shown = finished.run("dvc", "exp", "run", *settings, "--name", "all-kinds")

    assert stages_run(shown) == ["synth", "quality", "card", "features", "train", "evaluate"]
    made = {kind for kind, count in manifest(finished)["kinds"].items() if count}
    assert len(made & {"stroke", "stain", "dent", "poisson", "repeat", "gloss"}) > 3
    assert "all-kinds" in finished.run("dvc", "exp", "show", "--md")
    compared = finished.run("python", "-m", "pipeline.inspect", "all", "--diff", "HEAD", "--png", "diff.png")
    assert "parameters.synth.variation_prob" in compared
    assert "are the same to the byte" in compared
    assert (finished.root / "diff.png").read_bytes().startswith(b"\x89PNG")
    finished.run("python", "-m", "pipeline.inspect", "all", "--verify")
    told = json.loads((finished.root / "reports/quality/metrics.json").read_text())
    assert all(
        ("area within published" in told[kind]) == (kind in ("inpaint", "paste", "local"))
        for kind in told
        if kind != "all"
    )


def test_an_unknown_kind_of_defect_is_told_before_anything_is_made(finished):
    text = (finished.root / "params.yaml").read_text()
    finished.set(synth__defects={"scratch": 1})

    shown = finished.run("dvc", "repro", status=255)

    assert "error: synth.defects: scratch is no kind of defect; there are stroke, stain" in shown
    (finished.root / "params.yaml").write_text(text)


def test_a_wrong_parameter_is_one_line(finished):
    shown = finished.run("dvc", "exp", "run", "--set-param", "synth.local_prob=2.0", status=255)

    assert "error: params.yaml: synth.local_prob = 2.0: Input should be less than or equal to 1" in shown
    assert "Traceback" not in shown
    finished.run("git", "checkout", "--quiet", "params.yaml")
