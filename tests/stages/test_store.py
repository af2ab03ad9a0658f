"""Shards in an object store, made by workers started by hand: a real S3 server and a real scheduler on loopback."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from tests.stages.conftest import PATIENCE_S

BUCKET = "bucket"
STORED = {"inpaint__store": f"s3://{BUCKET}/inpainted", "synth__store": f"s3://{BUCKET}/pairs/"}


class Service:
    """A server of the environment's, ended on leaving; what it prints goes to a file."""

    def __init__(self, log: Path, *command: str, env: dict[str, str] | None = None) -> None:
        self.log = log
        program = str(Path(sys.executable).parent / command[0])
        with log.open("w") as stream:
            self.process = subprocess.Popen([program, *command[1:]], env=env, stdout=stream, stderr=stream)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def says(self, text: str) -> str:
        """The word behind `text` once it is printed."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return self.log.read_text().partition(text)[2].split()[0]


@pytest.fixture(scope="module")
def remote(project, tmp_path_factory):
    """The small project with its shards in the store, and the store's client."""
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        server = stack.enter_context(Service(logs / "s3", "moto_server", "--port", "0"))
        patch.setenv("AWS_ENDPOINT_URL", server.says("Running on ").removesuffix("\x1b[0m"))
        patch.setenv("AWS_ACCESS_KEY_ID", "tester")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        env = project.environment | {"PYTHONPATH": str(project.root)}
        command = ("dask", "scheduler", "--port", "0", "--dashboard-address", ":0")
        scheduler = stack.enter_context(Service(logs / "scheduler", *command, env=env))
        address = scheduler.says("Scheduler at:")
        for number in range(2):
            worker = ("dask", "worker", address, "--nthreads", "1", "--no-nanny")
            stack.enter_context(Service(logs / f"worker{number}", *worker, env=env))
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        project.set(cluster__address=address, **STORED)
        yield project, s3
        s3.close()


def manifest(project, name: str) -> dict:
    return json.loads((project.root / "data" / name / "manifest.json").read_text())


def key_of(shard: dict) -> str:
    """The folder of a shard in its store."""
    return f"{shard['fingerprint'][:32]}.zarr"


def written(s3) -> dict[str, str]:
    """What the bucket holds: key -> content hash and time of writing."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {found["Key"]: f"{found['ETag']} {found['LastModified']}" for page in pages for found in page["Contents"]}


def test_shards_made_by_hand_started_workers_into_s3_are_those_made_at_home(remote):
    project, s3 = remote

    shown = project.run("dvc", "repro", "synth")

    assert "synth: Dask dashboard at http://" in shown
    assert "synth images: 24 of 24 done" in shown
    stored = {name: manifest(project, name) for name in ("inpainted", "pairs")}
    for name, content in stored.items():
        assert content["store"] == f"s3://{BUCKET}/{name}"
        beside = {"manifest.json"} | ({"records.parquet"} if name == "pairs" else set())
        assert {path.name for path in (project.root / "data" / name).iterdir()} == beside
        keys = [key for key in written(s3) if key.startswith(f"{name}/")]
        assert {key.split("/")[1] for key in keys} == {key_of(shard) for shard in content["shards"]}
    assert "made again to the byte" in project.run("python", "-m", "pipeline.inspect", "all", "--verify")
    project.run("python", "-m", "pipeline.inspect", "shard_0001", "--root", "data/inpainted", "--png", "sheet.png")
    key = key_of(stored["pairs"]["shards"][0]).removesuffix(".zarr")
    shown = project.run("python", "-m", "pipeline.inspect", key, "--root", f"s3://{BUCKET}/pairs", "--verify")
    assert "pairs NOT made again, s3://bucket/pairs is a store" in shown

    project.set(cluster__address=None, inpaint__store=None, synth__store=None)
    project.run("dvc", "repro", "synth")

    for name, content in stored.items():
        assert manifest(project, name) == content | {"store": None}
    project.run("git", "commit", "--quiet", "--all", "--message", "shards at home")


def test_a_lost_or_damaged_shard_of_the_store_is_found_and_it_alone_made_again(remote):
    project, s3 = remote
    project.set(synth__store=STORED["synth__store"])
    shards = manifest(project, "pairs")["shards"]
    kept = "synth: {} of {} shards are already there and kept"
    assert kept.format(len(shards), len(shards)) in project.run("python", "-m", "stages.synth")
    before = written(s3)
    lost, damaged = f"pairs/{key_of(shards[2])}/mask/c/0/0/0", f"pairs/{key_of(shards[4])}/pair/c/0/0/0/0/0"
    data = bytearray(s3.get_object(Bucket=BUCKET, Key=damaged)["Body"].read())
    data[len(data) // 2] ^= 1
    s3.delete_object(Bucket=BUCKET, Key=lost)
    s3.put_object(Bucket=BUCKET, Key=damaged, Body=bytes(data))

    shown = project.run("python", "-m", "pipeline.inspect", "all", "--verify", status=1)

    assert "shard_0002: mask/c/0/0/0 is gone" in shown
    assert "shard_0004: the bytes of pair/c/0/0/0/0/0 are not those that were written" in shown
    assert "Traceback" not in shown
    shown = project.run("python", "-m", "stages.synth")
    assert kept.format(len(shards) - 2, len(shards)) in shown
    after = written(s3)
    changed = {key.split("/")[1] for key in after if after[key] != before.get(key)}
    assert changed == {key_of(shards[2]), key_of(shards[4])}
    assert {key: tag.split()[0] for key, tag in after.items()} == {key: tag.split()[0] for key, tag in before.items()}


def test_what_no_manifest_speaks_of_is_listed_and_pruned_and_nothing_else(remote):
    project, s3 = remote
    project.set(synth__store=STORED["synth__store"])
    project.run("dvc", "repro", "synth")
    before = written(s3)
    project.set(synth__local_prob=1.0)
    project.run("python", "-m", "stages.synth")
    abandoned = {key.split("/")[1] for key in written(s3).keys() - before.keys()}
    project.set(synth__local_prob=0.3)
    project.run("python", "-m", "stages.synth")
    prune = ("python", "-m", "pipeline.prune", "--store", f"s3://{BUCKET}/pairs")

    listed = project.run(*prune)
    assert all(f"s3://{BUCKET}/pairs/{name}\n" in listed for name in abandoned)
    assert f"prune: {len(abandoned)} shards and trainings can be deleted (--delete)" in listed
    assert written(s3).keys() > before.keys()
    project.run(*prune, "--delete")

    assert written(s3) == before
    assert "prune: 0 shards" in project.run(*prune)


@pytest.mark.parametrize("url", ["s3://nowhere/pairs", "gopher://bucket/pairs"])
def test_a_store_that_cannot_be_written_is_one_line(remote, url):
    project, _ = remote
    project.set(synth__store=url)

    shown = project.run("python", "-m", "stages.synth", status=2)

    assert f"error: {url}" in shown
    assert "Traceback" not in shown


def test_a_local_dataset_is_pushed_and_pulled(remote):
    project, _ = remote
    project.run("dvc", "remote", "add", "--default", "lake", f"s3://{BUCKET}/dvc")
    project.run("dvc", "remote", "modify", "lake", "endpointurl", os.environ["AWS_ENDPOINT_URL"])
    project.run("git", "checkout", "params.yaml")
    project.run("dvc", "repro", "synth")
    made = manifest(project, "pairs")

    project.run("dvc", "push", "synth")
    shutil.rmtree(project.root / ".dvc" / "cache")
    shutil.rmtree(project.root / "data" / "pairs")
    shutil.rmtree(project.root / ".work")
    project.run("dvc", "pull", "synth")

    assert manifest(project, "pairs") == made
    assert made["store"] is None
    assert "made again to the byte" in project.run("python", "-m", "pipeline.inspect", "all", "--verify")
    with (project.root / "pipeline" / "changes" / "visible.py").open("a") as code:
        code.write("# A comment.\n")
    shown = project.run("dvc", "repro", "synth")  # of shards that were pulled, and that no shelf had
    assert f"synth: {len(made['shards'])} of {len(made['shards'])} shards are already there and kept" in shown
