from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from configs.everything import Everything
from pipeline import linked
from pipeline.changes.inpaint import build_inpainted_shard, plan_inpainted
from pipeline.changes.sources import Sources
from pipeline.changes.synth import build_pair_shard, plan_pairs
from pipeline.shards.format import Manifest, ShardEntry, shard_path, shelf_name, write_manifest
from tests.pipeline import tiny


@dataclass(frozen=True)
class Workspace:
    """A tiny source and everything made from it in one process, without Dask."""

    root: Path
    params: Everything

    @property
    def index(self) -> Path:
        return self.root / "index"

    @property
    def inpainted(self) -> Path:
        return self.root / "inpainted"

    @property
    def pairs(self) -> Path:
        return self.root / "pairs"

    def sources(self) -> Sources:
        return Sources(self.index, self.inpainted)

    def make_inpainted(self) -> Manifest:
        task, jobs = plan_inpainted(self.params, self.root / "shelf", self.index)
        return show(self.inpainted, self.root / "shelf", [build_inpainted_shard(job, task) for job in jobs])

    def make_pairs(self, root: Path, **changes) -> Manifest:
        params = self.params.model_copy(update={"synth": self.params.synth.model_copy(update=changes)})
        shelf = root.with_name(f"{root.name}-shelf")
        task, jobs = plan_pairs(params, shelf, self.index, self.inpainted)
        return show(root, shelf, [build_pair_shard(job, task) for job in jobs])

    def with_params(self, params: Everything) -> "Workspace":
        return replace(self, params=params)


def show(root: Path, shelf: Path, entries: list[ShardEntry]) -> Manifest:
    """A folder of shards from a shelf, as the stage makes it."""
    root.mkdir()
    for entry in entries:
        linked.show(shard_path(shelf, shelf_name(entry.fingerprint)), shard_path(root, entry.name))
    return write_manifest(root, entries)


def make_source(root: Path, **changes) -> Workspace:
    tiny.draw_source(root / "source")
    params = tiny.params(data__images=str(root / "source" / "images"), **changes)
    tiny.index_source(root / "source", root / "index", params)
    return Workspace(root, params)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Workspace:
    """The finished artifacts of the tiny source; do not change them."""
    made = make_source(tmp_path_factory.mktemp("tiny"))
    made.make_inpainted()
    made.make_pairs(made.pairs)
    return made
