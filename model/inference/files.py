"""Which image files are meant, and where the maps of queries go."""

from collections import Counter
from collections.abc import Sequence
from glob import glob
from os.path import commonpath
from pathlib import Path

from configs.errors import BadRequest
from model.images import SUFFIXES


def find_images(wanted: Sequence[str]) -> list[Path]:
    """The image files that are named, lie in a named folder (not below it) or match a glob; each once, in order.

    Hidden files are found by their own name only.

    Raises:
        BadRequest: one of `wanted` gives no image.
    """
    found: dict[Path, None] = {}
    for name in wanted:
        path = Path(name)
        if path.is_dir():
            paths = sorted(one for one in path.iterdir() if one.name[0] != ".")
        else:
            paths = [path] if path.exists() else _matches(path)
        images = [path for path in paths if path.is_file() and path.suffix.lower() in SUFFIXES]
        if not images:
            raise BadRequest(f"{name}: no image there; wanted a file, folder or glob of {', '.join(sorted(SUFFIXES))}")
        found |= dict.fromkeys(images)
    return list(found)


def name_outputs(queries: Sequence[Path], prompts: Sequence[Path], out: Path) -> list[Path]:
    """Where each query's heat map goes: `out` itself if it is a .png, else below it as the queries lie.

    Raises:
        BadRequest: a file for several queries, two queries of one name, or a map in the place of a query or prompt.
    """
    if out.suffix.lower() == ".png":
        if len(queries) > 1:
            raise BadRequest(f"--out {out}: one file for {len(queries)} queries; pass a folder")
        outputs = [out]
    else:
        common = Path(commonpath([path.parent.absolute() for path in queries]))
        outputs = [out / path.absolute().relative_to(common).with_suffix(".png") for path in queries]
    read = {path.resolve(): "prompt" for path in prompts} | {path.resolve(): "query" for path in queries}
    times = Counter(outputs)
    for output in outputs:
        over = read.get(output.resolve())
        if over or times[output] > 1:
            fault = f"would be written over a {over}" if over else "is the map of two queries"
            raise BadRequest(f"--out {out}: {output} {fault}; pass another folder, or fewer queries")
    return outputs


def _matches(pattern: Path) -> list[Path]:
    """What a glob matches; the folders at its start that exist are taken as they are named."""
    base, rest = Path(), list(pattern.parts)
    while (base / rest[0]).exists():
        base /= rest.pop(0)
    names = sorted(glob(str(Path(*rest)), root_dir=base, recursive=True))  # noqa: PTH207  # Path.glob sees hidden files
    return [base / name for name in names]
