"""How long training waits for pairs that lie in an object store: read-ahead and cache, with the latency of a network.

    python -m benchmarks.store                      the pairs of data/pairs; 50 ms are added to every request
    python -m benchmarks.store --pairs data/pairs --latency-ms 20 --pace 200 1000

The shards are put into moto's S3 server on this machine, which answers every request so much later than it could. Each
reader gives the shuffled batches of an epoch: as fast as they come, then to someone who learns from so many pairs a
second (`--pace`) and sleeps meanwhile, as a CPU does while a GPU learns. The share of the time that this one waits is
what training calls waiting. The server takes a core of this machine, which a real one does not.
"""

import argparse
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import boto3
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from configs.errors import BadRequest, run
from model.pairs import PairDataset
from model.training.feed import Batch, Feed
from pipeline.progress import track
from pipeline.shards import (
    Cache,
    ShardEntry,
    file_sizes,
    open_shard,
    read_manifest,
    shard_path,
    shelf_name,
    write_manifest,
)
from pipeline.shards.store import upload

BUCKET = "bucket"
PUT_AT_ONCE = 16
SLOW_PAIRS = 1024  # of an epoch, through a small buffer, of the reader that would take ten minutes for all
LATE_SERVER = """
import sys, time
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

on_time = DomainDispatcherApplication(create_backend_app)

def late(environment, start):
    time.sleep(float(sys.argv[2]) / 1e3)
    return on_time(environment, start)

run_simple("127.0.0.1", int(sys.argv[1]), late, threaded=True)
"""


class ByZarr(PairDataset):
    """Blocks read by zarr-python alone, as anyone would who opens a shard."""

    def read_range(self, first: int, end: int) -> Batch:
        name, row = self.place(first)
        rows = slice(row, row + end - first)
        shard = self._zarr(name)
        pair = np.asarray(shard.pair[rows])
        for place in np.flatnonzero(np.asarray(shard.prompt_is[rows])):
            pair[place, 0] = shard.prompt(row + int(place))
        return {
            "pair": torch.from_numpy(pair),
            "mask": torch.from_numpy(np.asarray(shard.mask[rows])),
            "index": torch.arange(first, end),
        }

    def _zarr(self, name):
        if name not in self._open:
            self._open[name] = open_shard(self.where, self._keys[name])
        return self._open[name]


@contextmanager
def s3_server(latency_ms: float) -> Iterator[None]:
    """moto's server, and the environment that its clients look for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    command = [sys.executable, "-c", LATE_SERVER, str(port), str(latency_ms)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        boto3.client("s3").create_bucket(Bucket=BUCKET)  # tries again until it is answered
        yield
    finally:
        server.kill()
        server.wait()


def bytes_of_pixels(shard: Path) -> int:
    """Bytes of what training reads of a shard in blocks."""
    return sum(size for name, size in file_sizes(shard).items() if name.split("/")[0] in ("pair", "mask", "prompt"))


def put(pairs: Path, folder: Path) -> Path:
    """Put the shards of a local folder into the bucket; the folder of their manifest."""
    manifest = read_manifest(pairs)
    if manifest.store is not None:
        raise BadRequest(f"{pairs}: its shards lie in {manifest.store}; wanted a folder that holds its shards")
    url = f"s3://{BUCKET}/pairs"

    def put_one(entry: ShardEntry) -> None:
        upload(shard_path(pairs, entry.name), f"{url}/{shelf_name(entry.fingerprint)}.zarr", last="zarr.json")

    with ThreadPoolExecutor(PUT_AT_ONCE) as pool:
        list(track(pool.map(put_one, manifest.shards), "store shards", len(manifest.shards)))
    folder.mkdir()
    write_manifest(folder, manifest.shards, url)
    return folder


def measure(feed: Feed, number: int, pace: float, most: float) -> tuple[float, float]:
    """Pairs per second over at most so many pairs of an epoch, and the share of time that a learner of `pace` waits."""
    pairs, waited = 0, 0.0
    begun = ready = time.perf_counter()
    for batch in feed.epoch(number):
        waited += time.perf_counter() - ready
        pairs += len(batch["index"])
        time.sleep(len(batch["index"]) / pace)
        ready = time.perf_counter()
        if pairs >= most:
            break
    seconds = time.perf_counter() - begun
    return pairs / seconds, waited / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("data/pairs"), help="folder of shards (default data/pairs)")
    parser.add_argument("--latency-ms", type=float, default=50.0, help="added to every request (default 50)")
    parser.add_argument("--pace", type=float, nargs="+", default=[300, 1000], help="pairs/s of who learns")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--buffer", type=int, default=1024, help="pairs held to be shuffled (default 1024)")
    parser.add_argument("--workers", type=int, default=4, help="train.loader_workers of those that read ahead")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-"))
    try:
        with s3_server(args.latency_ms):
            store = put(args.pairs, folder / "store")
            shards = [shard for shard in read_manifest(store).shards if shard.split == "train"]
            digests = {shard.sha256 for shard in shards}
            size = sum(bytes_of_pixels(shard_path(args.pairs, shard.name)) for shard in shards)
            half, whole = (Cache(folder / name, room, digests) for name, room in (("half", size // 2), ("whole", size)))
            rows = {
                "local disk, read ahead": (PairDataset(args.pairs, "train"), args.workers),
                "zarr-python, read ahead": (ByZarr(store, "train"), args.workers),
                "when it is needed": (PairDataset(store, "train"), 0),
                "read ahead": (PairDataset(store, "train"), args.workers),
                "read ahead, half of the set cached": (PairDataset(store, "train", half), args.workers),
                "read ahead, all of it cached": (PairDataset(store, "train", whole), args.workers),
            }
            table = Table(
                title=f"{args.latency_ms:g} ms a request, {len(rows['read ahead'][0])} pairs, {size / 1e6:.0f} MB"
            )
            for heading in ("reader", "first epoch", "pairs/s", *(f"waits at {pace:g}/s" for pace in args.pace)):
                table.add_column(heading, justify="left" if heading == "reader" else "right")
            for name, (dataset, workers) in track(rows.items(), "store readers", len(rows)):
                slow = isinstance(dataset, ByZarr)
                most, buffer = (SLOW_PAIRS, args.batch_size) if slow else (math.inf, args.buffer)
                feed = Feed(dataset, args.batch_size, buffer=buffer, workers=workers)
                rates = [measure(feed, number, math.inf, most)[0] for number in (1, 2)]  # the first opens the shards
                waits = [measure(feed, number, pace, most)[1] for number, pace in enumerate(args.pace, start=3)]
                table.add_row(name, *(f"{rate:.0f}" for rate in rates), *(f"{wait:.0%}" for wait in waits))
        Console().print(table)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    run(main)
