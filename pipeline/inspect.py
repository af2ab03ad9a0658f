"""Look at a shard: what it was made from, what it holds, and its pictures; or prove that it is what it says it is.

python -m pipeline.inspect shard_0003
python -m pipeline.inspect shard_0003 --png sheet.png --html shard.html
python -m pipeline.inspect shard_0000 --root data/inpainted --json
python -m pipeline.inspect shard_0003 --verify
python -m pipeline.inspect all --verify
python -m pipeline.inspect all --diff HEAD~1 --png before_and_now.png

--verify checks every byte against its digest, the laws on every pair, and a sample of pairs made again from what lies
beside the folder (data/index, data/inpainted, and for data/inpainted the images that params.yaml names). Where that is
not there, as after `dvc pull data/pairs`, it says so and the rest decides. Exit status: 0 all that could be checked is
right, 1 something is wrong, 2 the request was.

--diff holds the pairs against those of a revision that DVC knows, or of another folder: counts, parameters, which pairs
differ, and up to nine of them side by side.
"""

import argparse
import base64
import io
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from configs.errors import BadRequest, Failure, run
from pipeline.browse import areas, find_shard
from pipeline.changes import remaker_for
from pipeline.progress import track
from pipeline.shards import (
    MANIFEST,
    THE_ORIGINAL,
    Manifest,
    NotCheckedError,
    Remake,
    Shard,
    Where,
    child,
    faults_of_folder,
    file_sizes,
    open_shard,
    read_manifest,
    verify_shard,
)
from pipeline.sheet import SheetEntry, contact_sheet
from pipeline.spread import spread
from pipeline.versions import Version, compare, flat, print_difference, sheet_of_difference

ALL = "all"
QUANTILES = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}
PAIRS_ON_SHEET = 18
PAIRS_COMPARED = 9


@dataclass(frozen=True)
class Report:
    """What `inspect` tells of a shard."""

    name: str
    stage: str
    split: str
    pairs: int
    distinct: int  # of them
    height_px: int
    width_px: int
    seed: int
    code_version: str
    fingerprint: str
    sha256: str
    bytes_on_disk: int
    bytes_raw: int
    ratio: float  # raw / on disk
    kinds: dict[str, int]
    groups: dict[str, int]
    mask_share: dict[str, dict[str, float]]  # kind -> quantile -> share of the image that is masked
    outcomes: dict[str, int]
    parameters: dict[str, Any]


def describe(path: Where, shard: Shard) -> Report:
    """Gather the report on a shard, whose folder or URL `path` is; reads its masks but not its images."""
    attributes, entry = shard.attributes, shard.entry
    on_disk = sum(file_sizes(path).values())
    prompts = int((np.asarray(shard.prompt_is[:]) != THE_ORIGINAL).sum())
    raw = int(shard.pair.nbytes + shard.mask.nbytes + prompts * shard.pair.nbytes // max(2 * entry.pairs, 1))
    return Report(
        name=entry.name,
        stage=attributes["stage"],
        split=entry.split,
        pairs=entry.pairs,
        distinct=entry.distinct,
        height_px=int(shard.pair.shape[2]),
        width_px=int(shard.pair.shape[3]),
        seed=attributes["seed"],
        code_version=attributes["code"]["version"],
        fingerprint=entry.fingerprint,
        sha256=entry.sha256,
        bytes_on_disk=on_disk,
        bytes_raw=raw,
        ratio=round(raw / on_disk, 2),
        kinds=entry.kinds,
        groups=entry.groups,
        mask_share=_mask_shares(shard),
        outcomes=entry.outcomes,
        parameters=attributes["parameters"],
    )


def sheet_of(shard: Shard, count: int) -> npt.NDArray[np.uint8]:
    """A contact sheet of about `count` pairs, evenly taken from each kind there is."""
    kinds = np.asarray(shard.kind[:])
    present = np.unique(kinds)
    entries = []
    for kind in present:
        places = np.flatnonzero(kinds == kind)
        picked = places[spread(len(places), count // len(present))]
        entries += [_sheet_entry(shard, int(place), shard.kinds[kind]) for place in picked]
    return contact_sheet(entries)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see the module's docstring."""
    args = _parser().parse_args(argv)
    root: Where = args.root if "://" in args.root else Path(args.root)
    if isinstance(root, Path) and not root.is_dir():
        raise BadRequest(f"no folder {root}; run `dvc repro`")
    manifest = read_manifest(root) if isinstance(root, Path) and (root / MANIFEST).exists() else None
    if args.name == ALL:
        if args.diff and isinstance(root, Path) and not (args.verify or args.html):
            return diff(root, args.diff, args.png, as_json=args.json)
        if not args.verify or args.diff or args.png or args.html or args.json:
            raise BadRequest(f"`{ALL}` is for --verify alone, or for --diff of a folder; a report is of one shard")
        if not isinstance(root, Path):
            raise BadRequest(f"{root}: `{ALL}` wants the folder of the manifest that names it, such as data/pairs")
        verify(root, read_manifest(root), None, args.sample)
        return 0
    if args.diff:
        raise BadRequest(f"--diff is of all shards: python -m pipeline.inspect {ALL} --diff {args.diff}")
    where, key = find_shard(root, manifest, args.name)
    shard = replace(open_shard(where, key), name=args.name)
    if args.verify:
        verify(root, manifest, args.name, args.sample)
    report = describe(child(where, f"{key}.zarr"), shard)
    if args.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        _print_report(report, Console())
    if args.png or args.html:
        if not shard.entry.pairs:
            raise BadRequest(f"{args.name}: it holds no pair to draw")
        png = _as_png(sheet_of(shard, PAIRS_ON_SHEET))
        if args.png:
            _write(args.png, png)
        if args.html:
            _write(args.html, _page(report, png).encode())
    return 0


def diff(root: Path, revision: str, png: Path | None, *, as_json: bool) -> int:
    """Hold the pairs of a folder against another version's, and say how they differ.

    Raises:
        BadRequest: there is no such version.
    """
    with tempfile.TemporaryDirectory() as scratch:
        before, now = Version(revision, root, Path(scratch)), Version(str(root), root, Path(scratch))
        found = compare(before, now)
        if as_json:
            print(json.dumps(asdict(found), indent=1))
        else:
            print_difference(found, revision, str(root), Console())
        sheet = sheet_of_difference(found, before, now, PAIRS_COMPARED) if png else None
        if png and sheet is not None:
            _write(png, _as_png(sheet))
    return 0


def verify(root: Where, manifest: Manifest | None, only: str | None, sample: int) -> None:
    """Check one shard of a folder, or all, and say what was checked.

    Raises:
        Failure: something is wrong; the message names every shard and what is wrong with it.
    """
    listed = {entry.name: entry for entry in manifest.shards} if manifest else {}
    wrong = faults_of_folder(root, manifest) if manifest and not only and isinstance(root, Path) else {}
    names = [only] if only else [name for name in listed if name not in wrong]
    not_checked = set()
    with tempfile.TemporaryDirectory() as scratch:
        for name in track(names, f"verify {root}", len(names)):
            where, key = find_shard(root, manifest, name)
            remaker = partial(_remaker, root=root, scratch=Path(scratch))
            faults, reason = verify_shard(where, key, listed.get(name), sample, remaker)
            if faults:
                wrong[name] = "; ".join(faults)
            if reason:
                not_checked.add(reason)
    if wrong:
        found = "; ".join(f"{name}: {faults}" for name, faults in wrong.items())
        raise Failure(f"{root}: {found}; run `dvc repro --force --single-item` of its stage, which makes it again")
    again = f"up to {sample} of each shard made again to the byte"
    if not_checked:
        again = f"pairs NOT made again, {'; '.join(sorted(not_checked))}"
    print(f"{only or root}: bytes and laws verified (shards: {len(names)}); {again}", file=sys.stderr)


def _remaker(attributes: dict[str, Any], root: Where, scratch: Path) -> Remake:
    if not isinstance(root, Path):
        raise NotCheckedError(f"{root} is a store; what its pairs were made from lies beside a manifest")
    return remaker_for(attributes, root, scratch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.inspect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="the shard, for example shard_0003; or `all`, with --verify or --diff")
    parser.add_argument("--root", default="data/pairs", help="folder or URL of shards (default: data/pairs)")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a contact sheet")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write tables and contact sheet as one page")
    parser.add_argument("--json", action="store_true", help="print the report as JSON instead of tables")
    parser.add_argument("--verify", action="store_true", help="check bytes, laws, and a sample made again")
    parser.add_argument(
        "--diff", metavar="REV", help="compare with a revision of DVC's, or with another folder of pairs"
    )
    parser.add_argument("--sample", type=_count, default=8, metavar="N", help="pairs made again of a shard (8)")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def _as_png(sheet: npt.NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise BadRequest(f"cannot write {path}: {error.strerror}") from None
    print(f"written: {path}", file=sys.stderr)


def _page(report: Report, png: bytes) -> str:
    """The tables and the contact sheet as one HTML page that needs nothing else."""
    console = Console(record=True, file=io.StringIO(), width=100)
    _print_report(report, console)
    sheet = f'<img style="width: 100%" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    return console.export_html(inline_styles=True).replace("</body>", f"{sheet}\n</body>")


def _mask_shares(shard: Shard) -> dict[str, dict[str, float]]:
    kinds, shares = np.asarray(shard.kind[:]), areas(shard)
    return {
        name: {label: round(float(np.quantile(shares[kinds == kind], at)), 5) for label, at in QUANTILES.items()}
        for kind, name in enumerate(shard.kinds)
        if (kinds == kind).any()
    }


def _sheet_entry(shard: Shard, place: int, kind: str) -> SheetEntry:
    pair, mask = np.asarray(shard.pair[place]), np.asarray(shard.mask[place]) > 0
    caption = f"{place}: {kind}, image {np.asarray(shard.image_id[place])}"
    donor = int(np.asarray(shard.donor_id[place]))
    return SheetEntry(pair[0], pair[1], mask, caption + (f", donor {donor}" if donor >= 0 else ""), shard.prompt(place))


def _print_report(report: Report, console: Console) -> None:
    title = f"{report.name}: {report.pairs} pairs, {report.distinct} distinct, {report.split}"
    facts = Table(title=escape(title), show_header=False, title_justify="left")
    for label, value in {
        "made by": f"stage {report.stage}, seed {report.seed}, code {report.code_version}",
        "pair size": f"{report.height_px} x {report.width_px} px",
        "on disk": f"{report.bytes_on_disk / 1e6:.2f} MB, {report.ratio:.2f} times smaller than raw",
        "sha256": report.sha256[:16],
        "fingerprint": report.fingerprint[:16],
    }.items():
        facts.add_row(label, escape(value))
    console.print(facts)

    kinds = Table(title="share of the image that is masked", title_justify="left")
    for column in ("kind", "pairs", *QUANTILES):
        kinds.add_column(column, justify="left" if column == "kind" else "right")
    for kind, quantiles in report.mask_share.items():
        kinds.add_row(escape(kind), str(report.kinds[kind]), *(f"{share:.2%}" for share in quantiles.values()))
    console.print(kinds)
    if len(report.groups) > 1:
        counts = (f"{group} {count}" for group, count in report.groups.items() if count)
        console.print(escape(f"categories: {', '.join(counts)}"))

    if report.outcomes:
        outcomes = Table(title="drawn in vain", show_header=False, title_justify="left")
        for reason, times in report.outcomes.items():
            outcomes.add_row(escape(reason), str(times))
        console.print(outcomes)

    parameters = Table(title="parameters", show_header=False, title_justify="left")
    for key, value in flat(report.parameters).items():
        parameters.add_row(escape(key), escape(str(value)))
    console.print(parameters)


if __name__ == "__main__":
    run(main)
