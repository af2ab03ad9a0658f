"""DVC stage `index`: data.images + data.annotations -> data/index.  Run: dvc repro index."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import run
from configs.index import IndexParams
from configs.section import load
from pipeline.source import build_index, choose_images, of_licences, read_annotations, read_categories, write_index


def main() -> None:
    """Choose the images and their split, check each, and write the index."""
    params = load(IndexParams)
    categories = params.data.layout == "categories"
    annotations = (
        read_categories(Path(params.data.images)) if categories else read_annotations(Path(params.data.annotations))
    )
    if params.index.licences is not None:
        annotations = of_licences(annotations, params.index.licences)
    places = choose_images(annotations.groups, params.index.images, params.index.val_share, params.seed)
    found = build_index(annotations, Path(params.data.images), places, params.index.max_unreadable_share)
    summary = write_index(Path("data/index"), found)
    print(
        f"index: {summary['images']['train']} train and {summary['images']['val']} val images, "
        f"{summary['instances']} instances; skipped {len(found.skipped)} images, {found.refused.total()} instances; "
        f"{len(found.repeated)} files stand more than once, {len(found.alike)} groups of photographs look alike"
    )
    print(f"index: images by licence: {', '.join(_by_licence(summary['rights']))}")
    if categories:
        counts = (f"{group} {sum(own.values())}" for group, own in summary["groups"].items())
        print(f"index: normal images of {len(summary['groups'])} categories: {', '.join(counts)}")


def _by_licence(rights: dict[str, Any]) -> Iterator[str]:
    """How many images bear which licence, each by its id and name."""
    for number, count in rights["images"].items():
        name = rights["licences"].get(number, {}).get("name")
        yield f"{number} ({name}) {count}" if name else f"{number} {count}"


if __name__ == "__main__":
    run(main)
