"""Jobs on Dask workers, one shard each."""

from pipeline.cluster.build import build_shards, summary
from pipeline.cluster.client import connect, run_jobs

__all__ = [
    "build_shards",
    "connect",
    "run_jobs",
    "summary",
]
