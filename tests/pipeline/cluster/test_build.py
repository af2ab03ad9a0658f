"""Shards made by real Dask worker processes."""

import os
import pickle
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cluster import Cluster
from configs.errors import BadRequest
from pipeline.changes.synth import build_pair_shard, plan_pairs
from pipeline.cluster.build import build_shards
from pipeline.cluster.client import JOBS_AHEAD, connect, run_jobs
from pipeline.shards.format import MANIFEST, read_manifest, shard_path
from pipeline.shards.jobs import split_into_parts

TWO_WORKERS = Cluster(workers=2, memory_limit="1 GiB", address=None)
THREE_WORKERS = Cluster(workers=3, memory_limit="1 GiB", address=None)


@given(st.dictionaries(st.sampled_from(["train", "val"]), st.integers(0, 50)), st.integers(1, 20))
def test_parts_cover_every_item_of_a_split_once_in_order(counts, per_shard):
    parts = split_into_parts(counts, per_shard)

    for split, count in counts.items():
        items = [item for part in parts if part.split == split for item in range(part.first, part.stop)]
        assert items == list(range(count))
    assert all(1 <= part.stop - part.first <= per_shard for part in parts)


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
    """Make the pairs as the stage does; the manifest and the shards' names."""
    task, jobs = plan_pairs(params, root, workspace.index, workspace.inpainted)
    manifest = build_shards(root, jobs, partial(build_pair_shard, task=task), cluster, "synth")
    return manifest, [job.name for job in jobs]


def test_worker_processes_make_the_bytes_one_process_makes_and_keep_what_is_there(workspace, tmp_path, capfd):
    made, names = make(workspace, tmp_path, workspace.params, THREE_WORKERS)

    assert made == read_manifest(workspace.pairs)
    assert made == read_manifest(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    lost, flipped = shard_path(tmp_path, names[1]), shard_path(tmp_path, names[2])
    for path in sorted(lost.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    lost.rmdir()
    data = bytearray((flipped / "image_id" / "c" / "0").read_bytes())
    data[-1] ^= 1
    (flipped / "image_id" / "c" / "0").write_bytes(data)
    (tmp_path / "shard_9999.zarr").mkdir()
    (tmp_path / "shard_0000.partial-1").mkdir()
    capfd.readouterr()

    again, _ = make(workspace, tmp_path, workspace.params, Cluster(workers=1, memory_limit="1 GiB", address=None))

    assert again == made
    shown = capfd.readouterr().err
    assert f"{len(names) - 2} of {len(names)} shards are already there and kept" in shown
    assert f"{flipped}: its bytes are not those that were written; made again" in shown
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    remade = {path.relative_to(tmp_path).parts[0] for path in after if after[path] != before[path]}
    assert remade == {lost.name, flipped.name, MANIFEST}


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


def test_other_parameters_make_every_shard_again(workspace, tmp_path):
    synth = workspace.params.synth.model_copy(update={"pairs_per_image": 1})
    few = workspace.params.model_copy(update={"synth": synth})

    first, _ = make(workspace, tmp_path, few)
    second, _ = make(workspace, tmp_path, few.model_copy(update={"seed": 1}))

    assert all(a.sha256 != b.sha256 for a, b in zip(first.shards, second.shards, strict=True))


def test_workers_do_not_hand_every_freed_megabyte_back_to_the_system():
    with connect(TWO_WORKERS) as client:
        kept = client.run(os.getenv, "MALLOC_TRIM_THRESHOLD_")

    assert list(kept.values()) == [str(128 << 20)] * 2
