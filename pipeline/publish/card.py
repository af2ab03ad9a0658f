"""The card of a data set: what it is, how it was made, whose the photographs are, how to open and to verify it."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from pipeline.publish.summary import Summary
from pipeline.source import NONE_STATED

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
SIZES = {"n<1K": 1000, "1K<n<10K": 10_000, "10K<n<100K": 100_000, "100K<n<1M": 1_000_000, "1M<n<10M": 10_000_000}
# Of the Creative Commons licences, as Hugging Face names them (hub-docs, repositories-licenses).
ON_HUB = {
    "cc-by": ("2.0", "2.5", "3.0", "4.0"),
    "cc-by-sa": ("3.0", "4.0"),
    "cc-by-nc": ("2.0", "3.0", "4.0"),
    "cc-by-nd": ("4.0",),
    "cc-by-nc-nd": ("3.0", "4.0"),
    "cc-by-nc-sa": ("2.0", "3.0", "4.0"),
}
OPEN = {
    "zarr": """```python
import zarr
shard = zarr.open_group("{folder}/{shard}.zarr", mode="r")          # or a URL; xarray.open_zarr does as well
original, changed = shard["pair"][7]                                # uint8 (H, W, 3)
mask, record = shard["mask"][7], shard.attrs["records"][7]
```""",
    "webdataset": """```python
import webdataset
for pair in webdataset.WebDataset("data/{split}-{number}.tar").decode("rgb8"):
    pair["original.{pictures}"], pair["changed.{pictures}"], pair["mask.png"], pair["json"]
```""",
    "parquet": """```python
from datasets import load_dataset
pair = load_dataset("parquet", data_files={{"{split}": "data/{split}-*.parquet"}}, split="{split}")[7]
pair["original"], pair["changed"], pair["mask"]                     # PIL images
```""",
    "coco": """```python
from pycocotools.coco import COCO
coco = COCO("annotations/instances_{split}.json")                   # images are the changed ones; `prompt` is beside
```""",
    "png": "The pictures of a pair have one name in the folders `original`, `changed`, `mask` and, of some, `prompt`.",
}
TABLE = """`records.parquet` has a row a pair: id, kind, area, categories of the changed objects, licences, and the
record that makes the pair again."""
VERIFY = """`sha256sum --check SHA256SUMS` in an export. Who has the photographs and this program makes the pairs again
from seed and parameters, and compares them to the byte: `python -m pipeline.inspect all --verify`."""
LIMITS = """- The changes are synthetic: what is learned from them finds real defects less well than held-out pairs.
- What a filler paints where an object was may be told from a photograph by its smoothness.
- Photographs are stretched to their size here. Masks follow the source's annotations, which cut corners.
- The source says where a photograph lies, not who took it, whom some licences want named."""


def write_card(
    said: Summary, name: str, form: str, charts: Mapping[str, str], folder: str = "data", pictures: str = "webp"
) -> str:
    """The text of README.md, with the front matter that Hugging Face reads.

    Args:
        said: what the data set holds.
        name: of the source of its photographs.
        form: how it lies there: "zarr", or one of the forms of export.
        charts: title -> path of a picture, from the card.
        folder: that the shards lie in, of the form zarr.
        pictures: how they are stored, "webp" or "png".
    """
    parts = [
        f"---\n{yaml.safe_dump(_front(said, name, form), sort_keys=False)}---",
        f"# Change pairs of {name}",
        _what(said),
        _counts(said),
        *(f"![{title}]({path})" for title, path in charts.items()),
        f"## Open\n\n{_open(said, form, folder, pictures)}\n\n{TABLE}",
        f"## How it was made\n\n{_made(said)}",
        f"## Whose the photographs are\n\n{_rights(said)}",
        f"## Known limits\n\n{LIMITS}",
        f"## Verify\n\nDigest of all shards: `{said.digest}`. {VERIFY}",
        f"## Cite\n\nThe method, {PAPER}; the software, metauas-pipeline (its CITATION.cff); the photographs' source.",
    ]
    return "\n\n".join(parts) + "\n"


def hub_licence(said: Mapping[str, str]) -> str | None:
    """The name that Hugging Face has for a Creative Commons licence, by its address; None where it has none."""
    found = re.search(r"creativecommons\.org/licenses/([a-z-]+)/(\d\.\d)", said["url"])
    return f"cc-{found[1]}-{found[2]}" if found and found[2] in ON_HUB.get(f"cc-{found[1]}", ()) else None


def _front(said: Summary, name: str, form: str) -> dict[str, Any]:
    known = {hub_licence(said.licence_names.get(number, {"url": ""})) for number in said.licences}
    licence = next(iter(known)) if len(known) == 1 else None
    front: dict[str, Any] = {
        "pretty_name": f"Change pairs of {name}",
        "license": licence or "other",
        "task_categories": ["image-segmentation"],
        "tags": ["anomaly-segmentation", "change-detection", "synthetic", "metauas"],
        "size_categories": [next((label for label, most in SIZES.items() if said.pairs < most), "10M<n<100M")],
    }
    if form == "parquet":
        files = [{"split": _hub_split(split), "path": f"data/{split}-*.parquet"} for split in said.splits]
    else:  # what the hub would make of other files is not a pair each: it shows the table
        files = [{"split": "train", "path": "records.parquet"}]
    return {**front, "configs": [{"config_name": "default", "data_files": files}]}


def _open(said: Summary, form: str, folder: str, pictures: str) -> str:
    number = said.first_shard.removeprefix("shard_")
    place = {"split": said.splits[0], "shard": said.first_shard, "number": number}
    return OPEN[form].format(folder=folder, pictures=pictures, **place)


def _hub_split(split: str) -> str:
    return "validation" if split == "val" else split


def _what(said: Summary) -> str:
    return (
        f"{said.pairs:,} pairs of pictures, {said.size[0]} x {said.size[1]} px, each a photograph and the same with a"
        f" change that a mask outlines: {said.distinct:,} distinct ones of {said.photographs:,} photographs. Made for"
        " one-prompt anomaly segmentation as MetaUAS describes it."
    )


def _counts(said: Summary) -> str:
    splits = said.splits
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
    parameters = yaml.safe_dump({"inpaint": made["inpainted_with"], **made["parameters"]}, sort_keys=False)
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
    if "textures" in said.attributes["inputs"]:
        lines += [
            "",
            "Textures of local changes are of a folder: nothing is stated of them, and no record names them.",
        ]
    if said.closed:
        closed = f"{said.closed:,} pairs hold a photograph of which no derived work may be given away"
        lines += ["", f"**{closed}**: `index.licences` in params.yaml leaves such photographs out."]
    return "\n".join(lines)


def _link(known: Mapping[str, str]) -> str:
    """A licence's name with its address, as a cell of a table: it comes from anyone's file."""
    name, url = (" ".join(known[key].split()).replace("|", r"\|") for key in ("name", "url"))
    return f"[{name or url}](<{url}>)" if url else name
