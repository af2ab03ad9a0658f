"""Jobs on Dask workers, one shard each."""

from pipeline.cluster.build import build_shards, summary

__all__ = [
    "build_shards",
    "summary",
]
