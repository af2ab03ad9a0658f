"""A model card: what a saved network is, what it was made from, how to use it and what to cite. Markdown for a hub."""

from collections.abc import Mapping
from typing import Any

import yaml

from configs.model import PIP_WEIGHTS, System

NAMES: dict[System, str] = {"metauas": "MetaUAS", "onenip": "OneNIP", "metacan": "MetaCAN"}
PAPERS: dict[System, str] = {
    "metauas": "Gao, B.-B.: MetaUAS: Universal Anomaly Segmentation with One-Prompt Meta-Learning. NeurIPS 2024",
    "onenip": "Gao, B.-B.: Learning to Detect Multi-class Anomalies with Just One Normal Image Prompt. ECCV 2024",
    "metacan": "Lv, Z. et al.: MetaCAN: Improving Generalizability of Few-shot Anomaly Detection with Meta-learning."
    " CIKM 2025",
}
DOES: dict[System, str] = {
    "metauas": "segments what differs between an image and one normal image of the same kind",
    "onenip": "rebuilds the normal images of the categories that it learned, under a normal image as a prompt, and"
    " marks what it cannot rebuild",
    "metacan": "scores an image by two to eight normal ones of the same kind, on the features of CLIP",
}
MORE: dict[System, str] = {
    "metauas": "",
    "onenip": "",
    "metacan": ", clip='vit_b_16_plus_240-laion400m_e32-699c4b84.pt'",
}


def card(system: System, said: Mapping[str, Any], source: str, scores: str | None, *, published: bool) -> str:
    """The text of README.md.

    Args:
        system: whose network it is.
        said: what its checkpoint says of itself; of a published one next to nothing.
        source: name and digest of the checkpoint.
        scores: a table as Markdown with its notes, of `evaluate`; None where there is none.
        published: whether it is a file of the paper's authors.
    """
    front = {
        "library_name": "metauas-pipeline",
        "pipeline_tag": "image-segmentation",
        "tags": ["anomaly-segmentation", "anomaly-detection", system],
    }
    name = NAMES[system]
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
        f"# {name}\n\nIt {DOES[system]}.",
        f"## Use\n\n```python\nfrom model.{system} import {name}\n\n{_line(system)}\n```",
        f"## What it was made from\n\n{_made_from(said, source, published=published)}",
        f"## Scores\n\n{scores or 'None were given when this card was written.'}",
        f"## Licences\n\n{_licences(said, published=published)}",
        f"## Cite\n\nThe paper, {PAPERS[system]}; and the software, metauas-pipeline (CITATION.cff).",
    ]
    return "\n\n".join(parts) + "\n"


def _line(system: System) -> str:
    return f"network = {NAMES[system]}.from_pretrained('this/folder'{MORE[system]})"


def _made_from(said: Mapping[str, Any], source: str, *, published: bool) -> str:
    lines = [f"- checkpoint: {source}"]
    if published:
        return "\n".join([*lines, "- published by the paper's authors; the file says nothing of its making"])
    data = said.get("pairs") or said.get("features")
    if data is None:
        return "\n".join([*lines, "- the checkpoint does not say what it learned from"])
    history = said.get("history") or []
    lines += [
        f"- data: manifest of sha256 `{data}`",
        f"- seed {said['seed']}, {len(history)} epochs up to this checkpoint; code of digest `{said['code'][:16]}`",
        f"- libraries: {', '.join(f'{library} {number}' for library, number in said['versions'].items())}",
    ]
    recipe = yaml.safe_dump({"model": said["model"], "train": said["train"]}, sort_keys=False)
    return "\n".join([*lines, "", f"```yaml\n{recipe}```"])


def _licences(said: Mapping[str, Any], *, published: bool) -> str:
    weights = said.get("model", {}).get("weights")
    if "clip_sha256" in said["network"]:
        encoder = "CLIP's weights (open_clip, laion400m) are not in this folder; their licence is open_clip's."
    elif weights in PIP_WEIGHTS:
        encoder = f"The encoder's ImageNet weights are of the pip package {PIP_WEIGHTS[weights][1]}, Apache-2.0."
    elif weights:
        encoder = f"The encoder's weights came from `{weights}`, whose licence holds for them."
    elif published:
        encoder = "The licence of the weights is that of those who published them."
    else:
        encoder = "Where the encoder's weights came from the checkpoint does not say."
    return (
        f"{encoder} The code is Apache-2.0. Licences of the images that were learned from are theirs: COCO's"
        " photographs have one each, some of them without commercial use or derivatives; a benchmark has its own."
    )
