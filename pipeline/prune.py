"""Shards and trainings that nothing shows any more: of other parameters, or of commits that are gone. See or drop them.

    python -m pipeline.prune                        what there is in .work, and how large
    python -m pipeline.prune --delete               delete it, but for trainings that are not finished
    python -m pipeline.prune --delete --unfinished  those, too
    python -m pipeline.prune --store s3://bucket/pairs  in a store, too; it must be this project's alone

What was made is kept, so that going back to earlier parameters makes nothing again. What a folder of the project or
DVC's cache shows is never listed; `dvc gc --all-commits` takes out of the cache what no commit names. Shards of a stage
that was interrupted are shown nowhere yet and are listed: run the stage to its end first. How much training keeps of
stores (.work/blocks) is said, and left. Exit status: 0 done, 1 the work failed, 2 the request was wrong.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from configs.errors import run
from pipeline.linked import bytes_of, only_here
from pipeline.shards import filesystem, kept_in, manifests_of, unnamed_in_store

WORK = Path(".work")
BLOCKS = WORK / "blocks"
CACHE = Path(".dvc/cache")
ROOTS = (Path("data/inpainted"), Path("data/pairs"), Path("data/features"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.prune", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--delete", action="store_true", help="delete what is listed")
    parser.add_argument("--unfinished", action="store_true", help="with trainings that could be gone on with")
    parser.add_argument("--store", action="append", default=[], metavar="URL", help="a store of shards to look at, too")
    args = parser.parse_args(argv)
    found, freed = 0, 0
    shards = [shard for shard in sorted(WORK.glob("shards/*/*.zarr")) if only_here(shard)]
    for folder in [*shards, *_trainings(unfinished=args.unfinished)]:
        size = bytes_of(folder)
        print(f"{folder}: {size / 1e6:.1f} MB")
        found, freed = found + 1, freed + size
        if args.delete:
            shutil.rmtree(folder)
    for store in args.store:
        files, path = filesystem(store)
        for name in unnamed_in_store(store, list(manifests_of(CACHE, *ROOTS))):
            print(f"{store.rstrip('/')}/{name}")
            found += 1
            if args.delete:
                files.rm(f"{path.rstrip('/')}/{name}", recursive=True)
    if BLOCKS.is_dir():
        size = sum(kept.size for kept in kept_in(BLOCKS))
        print(f"{BLOCKS}: {size / 1e6:.1f} MB fetched from stores by training, kept; to free them, delete the files")
    done = "deleted" if args.delete else "can be deleted (--delete)"
    print(f"prune: {found} shards and trainings {done}; {freed / 1e6:.1f} MB on this disk")
    return 0


def _trainings(*, unfinished: bool) -> list[Path]:
    """The folders of trainings whose checkpoints are shown nowhere else; says which are kept as they are unfinished."""
    folders = []
    for path in sorted(WORK.glob("trainings/*/model/run.json")):
        training, said = path.parent.parent, json.loads(path.read_text())
        if not only_here(path.parent):
            continue
        if said["finished"] or unfinished:
            folders.append(training)
        else:
            print(f"{training}: left in epoch {said['epochs'] + 1}, kept (--unfinished)")
    return folders


if __name__ == "__main__":
    run(main)
