"""Shards that nothing names any more: of abandoned parameters, or of commits that are gone. List them, or delete them.

    python -m pipeline.prune                        what there is in .work, and how large
    python -m pipeline.prune --delete               delete it
    python -m pipeline.prune --store s3://bucket/pairs  in a store, too; it must be this project's alone

Finished shards are kept, so that going back to earlier parameters makes nothing again. What a folder of the project or
DVC's cache shows is never listed; `dvc gc --all-commits` takes out of the cache what no commit names. Exit status:
0 done, 1 the work failed, 2 the request was wrong.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from configs.errors import run
from pipeline.shards import filesystem, manifests_of, size_of_tree, unnamed_in_store, unnamed_on_disk

WORK = Path(".work")
CACHE = Path(".dvc/cache")
ROOTS = (Path("data/inpainted"), Path("data/pairs"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.prune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delete", action="store_true", help="delete what is listed")
    parser.add_argument("--store", action="append", default=[], metavar="URL", help="a store of shards to look at, too")
    args = parser.parse_args(argv)
    found, freed = 0, 0
    for shelf in sorted(WORK.glob("shards/*")):
        for shard in unnamed_on_disk(shelf):
            size = size_of_tree(shard)
            print(f"{shard}: {size / 1e6:.1f} MB")
            found, freed = found + 1, freed + size
            if args.delete:
                shutil.rmtree(shard)
    for store in args.store:
        files, path = filesystem(store)
        for name in unnamed_in_store(store, list(manifests_of(CACHE, *ROOTS))):
            print(f"{store.rstrip('/')}/{name}")
            found += 1
            if args.delete:
                files.rm(f"{path.rstrip('/')}/{name}", recursive=True)
    done = "deleted" if args.delete else "can be deleted (--delete)"
    print(f"prune: {found} shards {done}; {freed / 1e6:.1f} MB on this disk")
    return 0


if __name__ == "__main__":
    run(main)
