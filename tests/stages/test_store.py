"""Shards in an object store, made by workers started by hand: a real S3 server and a real scheduler on loopback."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest

from tests.stages.conftest import PATIENCE_S

BUCKET = "bucket"


def start(*command: str, env: dict[str, str], log: Path) -> subprocess.Popen:
    program = str(Path(sys.executable).parent / command[0])
    with log.open("w") as stream:
        return subprocess.Popen([program, *command[1:]], env=env, stdout=stream, stderr=stream)


def wait_for(log: Path, text: str) -> str:
    """The rest of the line behind `text` once a log has it."""
    deadline = time.monotonic() + PATIENCE_S
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return log.read_text().partition(text)[2].split()[0]


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """The environment of programs that use the servers: moto's S3 server, a Dask scheduler and two workers."""
    logs = tmp_path_factory.mktemp("logs")
    started = [start("moto_server", "--port", "0", env=dict(os.environ), log=logs / "s3")]
    try:
        endpoint = wait_for(logs / "s3", "Running on ").rstrip("\x1b[0m")
        settings = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        started += [
            start(
                "dask",
                "scheduler",
                "--port",
                "0",
                "--dashboard-address",
                ":0",
                env=dict(os.environ),
                log=logs / "scheduler",
            )
        ]
        address = wait_for(logs / "scheduler", "Scheduler at:")
        yield settings, address, started, logs
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def remote(project, services):
    """The small project with both datasets in the store, and its S3 client."""
    settings, address, started, logs = services
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        # As a user would: in the project's folder, with its environment.
        for number in range(2):
            env = project.environment | {"PYTHONPATH": str(project.root)}
            started.append(
                start("dask", "worker", address, "--nthreads", "1", "--no-nanny", env=env, log=logs / f"worker{number}")
            )
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        project.set(
            cluster__address=address, inpaint__store=f"s3://{BUCKET}/inpainted", synth__store=f"s3://{BUCKET}/pairs/"
        )
        yield project, s3


def manifest(project, name="pairs") -> dict:
    return json.loads((project.root / "data" / name / "manifest.json").read_text())


def keys(s3) -> dict[str, str]:
    """What the bucket holds: key -> time of writing."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {found["Key"]: str(found["LastModified"]) for page in pages for found in page.get("Contents", [])}


def test_x(remote):
    project, s3 = remote
    print(project.run("dvc", "repro", "synth"))
    print(list(keys(s3))[:20], manifest(project))
    print(project.run("python", "-m", "pipeline.inspect", "shard_0000", "--verify"))
    assert 0
