"""Shards made by real Dask worker processes."""

import os
import pickle
import shutil
from dataclasses import replace
from functools import partial

import pytest

from configs.cluster import Cluster
from configs.errors import BadRequest, Failure
from configs.section import Range
from pipeline.changes.synth import build_pair_shard, plan_pairs
from pipeline.cluster.build import build_shards
from pipeline.cluster.client import JOBS_AHEAD, connect, run_jobs
from pipeline.shards.format import MANIFEST, read_manifest, shard_path, shelf_name

TWO_WORKERS = Cluster(workers=2, memory_limit="1 GiB", address=None)
THREE_WORKERS = Cluster(workers=3, memory_limit="1 GiB", address=None)


def double(number):
    if number == 13:
        raise ValueError("thirteen")
    return 2 * number


@pytest.fixture(scope="module")
def client():
    with connect(TWO_WORKERS) as client:
        yield client


@pytest.mark.parametrize("count", [0, 1, 2 * JOBS_AHEAD, 2 * JOBS_AHEAD + 1, 12])
def test_every_job_is_done_once_however_many_fit_the_window(client, count):
    assert sorted(run_jobs(client, double, list(range(count)))) == [2 * number for number in range(count)]


def test_an_error_on_a_worker_is_raised_here(client):
    with pytest.raises(ValueError, match="thirteen"):
        list(run_jobs(client, double, list(range(20))))


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("pipeline.cluster.client.SECONDS_TO_CONNECT", 0.2)
    nobody = Cluster(workers=1, memory_limit="1 GiB", address="tcp://127.0.0.1:9")

    with (
        pytest.raises(BadRequest, match=r"cluster\.address = 'tcp://127\.0\.0\.1:9': no Dask scheduler answers"),
        connect(nobody),
    ):
        pass


def test_too_little_memory_for_a_worker_to_start_is_refused():
    """It would be started and killed for ever."""
    with (
        pytest.raises(BadRequest, match=r"cluster\.memory_limit = '50 MiB'"),
        connect(Cluster(workers=1, memory_limit="50 MiB", address=None)),
    ):
        pass


def make(workspace, root, params, cluster=TWO_WORKERS):
    """Make the pairs as the stage does; the manifest and the names of what is on the shelf for them."""
    task, jobs = plan_pairs(params, root / "shelf", workspace.index, workspace.inpainted)
    work = partial(build_pair_shard, task=task)
    manifest = build_shards(root / "pairs", root / "shelf", jobs, work, cluster, "synth")
    return manifest, [f"{shelf_name(job.fingerprint)}.zarr" for job in jobs]


def inodes(folder):
    return {path.relative_to(folder): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def test_worker_processes_make_the_bytes_one_process_makes_and_keep_what_is_there(workspace, tmp_path, capfd):
    made, names = make(workspace, tmp_path, workspace.params, THREE_WORKERS)

    assert made == read_manifest(workspace.pairs)
    assert made == read_manifest(tmp_path / "pairs")
    before = inodes(tmp_path / "pairs")
    lost, flipped = tmp_path / "shelf" / names[1], tmp_path / "shelf" / names[2]
    shutil.rmtree(lost)
    data = bytearray((flipped / "image_id" / "c" / "0").read_bytes())
    data[-1] ^= 1
    (flipped / "image_id" / "c" / "0").write_bytes(data)
    (tmp_path / "pairs" / "shard_9999.zarr").mkdir()
    (tmp_path / "shelf" / "0.partial-1").mkdir()
    capfd.readouterr()

    again, _ = make(workspace, tmp_path, workspace.params, Cluster(workers=1, memory_limit="1 GiB", address=None))

    assert again == made
    shown = capfd.readouterr().err
    assert f"{len(names) - 2} of {len(names)} shards are already there and kept" in shown
    assert f"{flipped}: its bytes are not those that were written; made again" in shown
    after = inodes(tmp_path / "pairs")
    assert after.keys() == before.keys()
    remade = {path.parts[0] for path in after if after[path] != before[path]}
    assert remade == {"shard_0001.zarr", "shard_0002.zarr", MANIFEST}
    assert {path.name for path in (tmp_path / "shelf").iterdir()} == set(names)


def test_a_shard_lies_on_the_disk_once(workspace, tmp_path):
    _, names = make(workspace, tmp_path, workspace.params)

    for number, name in enumerate(names):
        assert inodes(tmp_path / "shelf" / name) == inodes(shard_path(tmp_path / "pairs", f"shard_{number:04d}"))


def test_going_back_to_earlier_parameters_makes_nothing(workspace, tmp_path, capfd):
    other = workspace.params.model_copy(update={"seed": 1})
    first, _ = make(workspace, tmp_path, workspace.params)
    second, _ = make(workspace, tmp_path, other)
    capfd.readouterr()

    assert make(workspace, tmp_path, workspace.params)[0] == first
    assert make(workspace, tmp_path, other)[0] == second

    assert "Dask dashboard" not in capfd.readouterr().err
    assert all(a.sha256 != b.sha256 for a, b in zip(first.shards, second.shards, strict=False))


def test_a_job_is_small_and_of_one_size_whatever_the_shard_holds(workspace, tmp_path):
    """No pixels, and not one number per pair, travel through the scheduler."""
    sizes = []
    for per_shard in (1, 1000):
        synth = workspace.params.synth.model_copy(update={"pairs_per_shard": per_shard})
        params = workspace.params.model_copy(update={"synth": synth})
        task, jobs = plan_pairs(params, tmp_path, workspace.index, workspace.inpainted)
        sizes.append(len(pickle.dumps((jobs[-1], task))))

    assert max(sizes) < 8000
    assert abs(sizes[0] - sizes[1]) < 20


def test_a_split_without_a_pair_is_an_error(workspace, tmp_path):
    too_small = workspace.params.synth.model_copy(update={"area_share": Range(low=0.0, high=0.000001), "tries": 1})
    params = workspace.params.model_copy(update={"synth": too_small})

    with pytest.raises(Failure, match=r"synth: no pair of split (train|val) came out"):
        make(workspace, tmp_path, params)
    assert not (tmp_path / "pairs" / MANIFEST).exists()


def test_a_worker_of_other_code_or_libraries_refuses(workspace, tmp_path):
    task, (job, *_) = plan_pairs(workspace.params, tmp_path, workspace.index, workspace.inpainted)
    code, libraries = job.attributes["code"], job.attributes["libraries"]

    for other, reason in (
        ({"code": {**code, "sha256": "0" * 64}}, "runs other code"),
        ({"libraries": {**libraries, "numpy": "9"}}, "has libraries"),
    ):
        with pytest.raises(Failure, match=f"this worker {reason}.*restart the workers"):
            build_pair_shard(replace(job, attributes={**job.attributes, **other}), task)


def test_a_worker_whose_code_was_changed_under_it_refuses(workspace, tmp_path, monkeypatch):
    task, (job, *_) = plan_pairs(workspace.params, tmp_path, workspace.index, workspace.inpainted)
    monkeypatch.setattr("pipeline.shards.provenance.STARTED", 0.0)

    with pytest.raises(Failure, match=r"\.py was changed after this worker had started; restart the workers"):
        build_pair_shard(job, task)


def test_workers_do_not_hand_every_freed_megabyte_back_to_the_system():
    with connect(TWO_WORKERS) as client:
        kept = client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_")

    assert list(kept.values()) == [str(128 << 20)] * 2
