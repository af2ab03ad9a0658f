"""The format on disk: pairs written whole, read fast, and proved to be what they say."""

from pipeline.shards.chunks import ChunkReader, Values
from pipeline.shards.format import (
    INPAINT,
    KINDS,
    LOCAL,
    MANIFEST,
    NO_DONOR,
    PASTE,
    RECORDS,
    UNCHANGED,
    Manifest,
    Shard,
    ShardEntry,
    is_intact,
    open_shard,
    read_manifest,
    shard_names,
    shard_path,
    write_manifest,
)
from pipeline.shards.jobs import Part, ShardJob, plan_shards
from pipeline.shards.provenance import code_digest, made_by
from pipeline.shards.store import Where, check_store, child, file_sizes
from pipeline.shards.verify import NotCheckedError, Pixels, Remake, faults_of_folder, verify_shard
from pipeline.shards.writer import NewPair, write_shard

__all__ = [
    "INPAINT",
    "KINDS",
    "LOCAL",
    "MANIFEST",
    "NO_DONOR",
    "PASTE",
    "RECORDS",
    "UNCHANGED",
    "ChunkReader",
    "Manifest",
    "NewPair",
    "NotCheckedError",
    "Part",
    "Pixels",
    "Remake",
    "Shard",
    "ShardEntry",
    "ShardJob",
    "Values",
    "Where",
    "check_store",
    "child",
    "code_digest",
    "faults_of_folder",
    "file_sizes",
    "is_intact",
    "made_by",
    "open_shard",
    "plan_shards",
    "read_manifest",
    "shard_names",
    "shard_path",
    "verify_shard",
    "write_manifest",
    "write_shard",
]
