"""The card of a data set: what it is, how it was made, whose the photographs are, how to open and to verify it."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from pipeline.publish.summary import NONE_STATED, Summary

PAPER = "Gao, B.-B.: MetaUAS: Universal Anomaly Segmentation with One-Prompt Meta-Learning. NeurIPS 2024"
KINDS = {
    "unchanged": "nothing",
    "inpaint": "objects removed, what was behind them filled in",
    "paste": "objects of another photograph pasted in",
    "local": "a texture of other photographs blended in under a mask of Perlin noise",
    "stroke": "a scratch or crack",
    "stain": "a stain",
    "dent": "a smooth displacement",
    "poisson": "a patch of another photograph, blended in by its gradients",
    "repeat": "a patch of the same photograph, elsewhere in it",
    "gloss": "a change of gloss or colour",
    "cutpaste": "a patch or scar cut from the picture and pasted elsewhere in it",
}
SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
OPEN = {
    "zarr": """```python
import zarr
shard = zarr.open_group("data/shard_0000.zarr", mode="r")           # or a URL; xarray.open_zarr does as well
original, changed = shard["pair"][7]                                # uint8 (H, W, 3)
mask, record = shard["mask"][7], shard.attrs["records"][7]
```""",
    "webdataset": """```python
import webdataset
for pair in webdataset.WebDataset("data/train-0000.tar").decode("rgb8"):
    pair["original.webp"], pair["changed.webp"], pair["mask.png"], pair["json"]
```""",
    "parquet": """```python
from datasets import load_dataset
pair = load_dataset("parquet", data_files={"train": "data/train-*.parquet"}, split="train")[7]
pair["original"], pair["changed"], pair["mask"]                     # PIL images
```""",
    "coco": """```python
from pycocotools.coco import COCO
coco = COCO("annotations/instances_train.json")                     # images are the changed ones; `prompt` is beside
```""",
    "png": "The pictures of a pair have one name in the folders `original`, `changed`, `mask` and, of some, `prompt`.",
}
TABLE = """`records.parquet` has a row a pair: id, kind, area, categories of the changed objects, licences, and the
record that makes the pair again."""
VERIFY = """`sha256sum --check SHA256SUMS` in an export. Who has the photographs makes the pairs again from these
parameters and compares them to the byte: `python -m pipeline.inspect all --verify`."""
LIMITS = """- The changes are synthetic: what is learned from them finds real defects less well than held-out pairs.
- What a filler paints where an object was may be told from a photograph by its smoothness.
- Photographs are stretched to their size here. Masks follow the source's annotations, which cut corners."""


def write_card(said: Summary, name: str, form: str, charts: Mapping[str, str]) -> str:
    """The text of README.md, with the front matter that Hugging Face reads.

    Args:
        said: what the data set holds.
        name: of the source of its photographs.
        form: how it lies there: "zarr", or one of the forms of export.
        charts: title -> path of a picture, from the card.
    """
    parts = [
        f"---\n{yaml.safe_dump(_front(said, name, form), sort_keys=False)}---",
        f"# Change pairs of {name}",
        _what(said),
        _counts(said),
        *(f"![{title}]({path})" for title, path in charts.items()),
        f"## Open\n\n{OPEN[form]}\n\n{TABLE}",
        f"## How it was made\n\n{_made(said)}",
        f"## Whose the photographs are\n\n{_rights(said)}",
        f"## Known limits\n\n{LIMITS}",
        f"## Verify\n\nDigest of all shards: `{said.digest}`. {VERIFY}",
        f"## Cite\n\nThe method, {PAPER}; the software, metauas-pipeline (its CITATION.cff); the photographs' source.",
    ]
    return "\n\n".join(parts) + "\n"


def hub_licence(said: Mapping[str, str]) -> str | None:
    """The name that hubs have for a Creative Commons licence, by its address; None for any other."""
    found = re.search(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", said["url"])
    return f"cc-{found[1]}-{found[2]}" if found else None


def _front(said: Summary, name: str, form: str) -> dict[str, Any]:
    known = {hub_licence(said.licence_names.get(number, {"url": ""})) for number in said.licences}
    licence = next(iter(known)) if len(known) == 1 else None
    front: dict[str, Any] = {
        "pretty_name": f"Change pairs of {name}",
        "license": licence or "other",
        "task_categories": ["image-segmentation"],
        "tags": ["anomaly-segmentation", "change-detection", "synthetic", "metauas"],
        "size_categories": [next((label for most, label in SIZES if said.pairs < most), "n>1M")],
    }
    if licence is None:
        front |= {"license_name": "of-each-photograph", "license_link": "#whose-the-photographs-are"}
    if form in ("parquet", "webdataset"):
        ending = {"parquet": "parquet", "webdataset": "tar"}[form]
        splits = sorted({split for own in said.counts.values() for split in own})
        files = [{"split": _hub_split(split), "path": f"data/{split}-*.{ending}"} for split in splits]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    return front


def _hub_split(split: str) -> str:
    return "validation" if split == "val" else split


def _what(said: Summary) -> str:
    return (
        f"{said.pairs:,} pairs of pictures, {said.size[0]} x {said.size[1]} px, each a photograph and the same with a"
        f" change that a mask outlines: {said.distinct:,} distinct ones of {said.photographs:,} photographs. Made for"
        " one-prompt anomaly segmentation as MetaUAS describes it."
    )


def _counts(said: Summary) -> str:
    splits = sorted({split for own in said.counts.values() for split in own})
    lines = [
        f"| kind | what was done | {' | '.join(splits)} | masked: median, largest |",
        f"|---|---|{'--:|' * len(splits)}--:|",
    ]
    for kind, own in said.counts.items():
        counts = " | ".join(f"{own.get(split, 0):,}" for split in splits)
        masked = f"{np.median(said.areas[kind]):.1%}, {said.areas[kind].max():.1%}"
        lines.append(f"| {kind} | {KINDS.get(kind, '')} | {counts} | {masked} |")
    return "\n".join(lines)


def _made(said: Summary) -> str:
    made = said.attributes
    libraries = ", ".join(f"{library} {number}" for library, number in made["libraries"].items())
    code = made["code"]
    parameters = yaml.safe_dump(made["parameters"], sort_keys=False)
    return (
        f"By metauas-pipeline {code['version']}, code of digest `{code['sha256'][:16]}`, seed {made['seed']}, with"
        f" {libraries}. Every pair keeps the record of its draws; the same seed and parameters give the same bytes"
        f" on any number of workers.\n\n```yaml\n{parameters}```"
    )


def _rights(said: Summary) -> str:
    lines = ["A pair is made of a photograph and, by its kind, of parts of others; each record names them all.", ""]
    lines += ["| licence | pairs that hold a photograph of it |", "|---|--:|"]
    for number, count in said.licences.items():
        known = said.licence_names.get(number)
        name = NONE_STATED if number == NONE_STATED else f"{number}" if known is None else _link(known)
        lines.append(f"| {name} | {count:,} |")
    if NONE_STATED in said.licences:
        lines += [
            "",
            "The source states no licence for some or all of its photographs: find out before you give them away.",
        ]
    if said.closed:
        closed = f"{said.closed:,} pairs hold a photograph of which no derived work may be given away"
        lines += ["", f"**{closed}**: `index.licences` in params.yaml leaves such photographs out."]
    return "\n".join(lines)


def _link(known: Mapping[str, str]) -> str:
    return f"[{known['name']}]({known['url']})" if known["url"] else known["name"]
