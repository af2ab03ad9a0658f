"""The report of a run: what it says adds up, by real workers and by numbers."""

import json
import time
from functools import partial

import pytest

from configs.cluster import Cluster
from pipeline import steps
from pipeline.changes.synth import build_pair_shard, plan_pairs
from pipeline.cluster.build import build_shards
from pipeline.cluster.report import Timing, summary_of
from pipeline.shards import file_sizes, shard_path


def test_steps_add_up_and_are_taken_once():
    steps.take()
    for _ in range(2):
        with steps.step("sleep"):
            time.sleep(0.01)
    assert steps.take()["sleep"] >= 0.02
    assert steps.take() == {}


def test_figures_of_a_run():
    timings = [
        Timing("shard_0000", "a", 10, 80, 4.0, {"read": 1.0, "other": 3.0}, 8_000_000),
        Timing("shard_0001", "b", 10, 70, 6.0, {"read": 2.0, "other": 4.0}, 7_000_000),
        Timing("shard_0002", "a", 5, 50, 2.0, {"other": 2.0}, 5_000_000),
    ]
    said = summary_of(timings, kept=3, seconds=8.0)
    assert (said["made"], said["kept"], said["pairs"], said["bytes"]) == (3, 3, 200, 20_000_000)
    assert said["pairs_per_second"] == 25.0
    assert said["worker_hours_per_million"] == pytest.approx(12 / 200 * 1e6 / 3600, abs=1e-3)
    assert said["gigabytes_per_million"] == 100.0
    assert said["seconds_by_step"] == {"other": 9.0, "read": 3.0}
    assert said["workers"]["a"] == {"shards": 2, "pairs": 130, "busy_seconds": 6.0, "pairs_per_second": 21.667}
    assert list(said["slowest_shards"]) == ["shard_0001", "shard_0000", "shard_0002"]


def test_a_run_leaves_its_report_and_one_that_makes_nothing_leaves_the_last(workspace, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shelf, root = tmp_path / "shelf", tmp_path / "pairs"
    task, jobs = plan_pairs(workspace.params, shelf, workspace.index, workspace.inpainted)
    cluster = Cluster(workers=2, memory_limit="1 GiB", address=None)
    manifest = build_shards(root, shelf, jobs, partial(build_pair_shard, task=task), cluster, "synth")

    path = tmp_path / ".work/runs/synth.json"
    said = json.loads(path.read_text())
    assert said["pairs"] == sum(manifest.kinds.values())
    assert [one["shard"] for one in said["shards"]] == [entry.name for entry in manifest.shards]
    for one in said["shards"]:
        assert one["bytes"] == sum(file_sizes(shard_path(root, one["shard"])).values())
        assert sum(one["steps"].values()) == pytest.approx(one["seconds"], abs=1e-3)
        assert {"read", "compress and write", "the rest"} == one["steps"].keys()
    assert sum(own["shards"] for own in said["workers"].values()) == len(jobs)
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "worker-hours" in capsys.readouterr().err

    build_shards(root, shelf, jobs, partial(build_pair_shard, task=task), cluster, "synth")
    assert json.loads(path.read_text()) == said
