"""Reading a COCO instances file: its checked structure, and what it says of rights and categories."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from configs.errors import BadRequest

SECTIONS: Final[dict[str, dict[str, type]]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "annotations": {"id": int, "image_id": int},
}
WHOLE = ""  # the one group of a source without categories; no folder has this name
URLS = ("flickr_url", "coco_url", "url")  # of an image, the first there is: the photographer's own page stands first


@dataclass(frozen=True)
class Licence:
    """An entry of `licenses`: under which terms photographs may be used."""

    name: str
    url: str


@dataclass(frozen=True)
class Annotations:
    """The parts of an instances file that the pipeline uses."""

    images: dict[int, dict[str, Any]]  # image id -> its entry
    instances: dict[int, list[dict[str, Any]]]  # image id -> its annotations, in id order
    refused: Counter[str]  # why annotations are not among them -> how many
    licences: dict[int, Licence] = dataclasses.field(
        default_factory=dict
    )  # by their ids; empty where the source states none
    categories: dict[int, str] = dataclasses.field(default_factory=dict)  # id of a category of objects -> its name

    @property
    def groups(self) -> dict[int, str]:
        """The category of every image, by its id; WHOLE where there are none."""
        return {image_id: entry.get("group", WHOLE) for image_id, entry in self.images.items()}

    def licence(self, image_id: int) -> int | None:
        """The id of the licence of an image; None where nothing is stated."""
        stated = _as_id(self.images[image_id].get("license"))
        return None if stated is not None and self.licences.get(stated) == Licence("", "") else stated

    def url(self, image_id: int) -> str | None:
        """Where an image comes from: its page at Flickr if there is one."""
        found = (self.images[image_id].get(name) for name in URLS)
        return next((url for url in found if isinstance(url, str) and url and url.isprintable()), None)


def of_licences(annotations: Annotations, wanted: Sequence[int]) -> Annotations:
    """Only the images of these licences, by their ids.

    Raises:
        BadRequest: the source states no licences, or not all of these, or has no image of them.
    """
    there = {image_id: annotations.licence(image_id) for image_id in annotations.images}
    named = {number for number, said in annotations.licences.items() if said != Licence("", "")}
    stated = sorted(named | {number for number in there.values() if number is not None})
    if not stated:
        raise BadRequest(f"index.licences = {list(wanted)}, but the source states no licences; set it to null")
    unknown = sorted(set(wanted) - set(stated))
    if unknown:
        raise BadRequest(f"index.licences: {unknown[0]} is no licence of the source; it has {stated}")
    kept = {image_id: entry for image_id, entry in annotations.images.items() if there[image_id] in wanted}
    if not kept:
        raise BadRequest(f"index.licences = {list(wanted)}: none of {len(there)} images bears one of these")
    return replace(annotations, images=kept, instances={image_id: annotations.instances[image_id] for image_id in kept})


def read_annotations(path: Path) -> Annotations:
    """Read a COCO instances JSON.

    Raises:
        BadRequest: the file is missing, empty, not JSON, or not of COCO's structure.
    """
    content = _read_json(path)
    for section, fields in SECTIONS.items():
        _check_section(path, content, section, fields)
    images = {image["id"]: image for image in content["images"]}
    if not images:
        raise BadRequest(f"{path}: `images` is empty; wanted a COCO instances file with at least one image")
    if len(images) < len(content["images"]):
        raise BadRequest(
            f"{path}: {len(content['images']) - len(images)} image ids stand more than once; make them unique"
        )
    instances: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in images}
    refused = Counter[str]()
    taken: set[int] = set()
    for annotation in sorted(content["annotations"], key=lambda annotation: annotation["id"]):
        if annotation["image_id"] not in instances:
            refused["of an image that is not listed"] += 1
        elif annotation["id"] in taken:  # the first in the file is kept: a record names instances by id
            refused["of an id that stands more than once"] += 1
        else:
            taken.add(annotation["id"])
            instances[annotation["image_id"]].append(annotation)
    return Annotations(images, instances, refused, _licences(path, content), _categories(content))


def _read_json(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadRequest(f"{path}: {error.strerror}; data.annotations must name a COCO instances JSON") from None
    if not data.strip():
        raise BadRequest(f"{path}: the file is empty; wanted a COCO instances JSON")
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadRequest(f"{path}: not JSON ({error}); wanted a COCO instances JSON") from None


def _licences(path: Path, content: Mapping[str, Any]) -> dict[int, Licence]:
    """What `licenses` says by id; an entry without name and address states nothing, as annotation tools write it.

    Raises:
        BadRequest: two licences have one id.
    """
    found: dict[int, Licence] = {}
    for number, entry in _entries(content, "licenses"):
        said = Licence(str(entry.get("name") or ""), str(entry.get("url") or ""))
        if found.setdefault(number, said) != said:
            raise BadRequest(f"{path}: licenses: id {number} is {found[number].name!r} and {said.name!r}; renumber one")
    return found


def _categories(content: Mapping[str, Any]) -> dict[int, str]:
    return {number: str(entry.get("name", "")) for number, entry in _entries(content, "categories")}


def _entries(content: Mapping[str, Any], section: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The entries of a section that have an id; nothing is painted by it, so what is missing or odd is left out."""
    found = content.get(section)
    for entry in found if isinstance(found, list) else []:
        number = _as_id(entry.get("id")) if isinstance(entry, dict) else None
        if number is not None:
            yield number, entry


def _as_id(value: Any) -> int | None:
    """An id, also where a tool wrote it as text; None of anything else."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    return number if type(number) is int and 0 <= number < 2**63 else None


def _check_section(path: Path, content: Any, section: str, fields: Mapping[str, type]) -> None:
    entries = content.get(section) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        keys = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise BadRequest(f"{path}: no list `{section}` (found {keys}); wanted a COCO instances JSON")
    for number, entry in enumerate(entries):
        for field, wanted in fields.items():
            found = entry.get(field) if isinstance(entry, dict) else None
            if type(found) is not wanted:
                raise BadRequest(f"{path}: {section}[{number}].{field} = {found!r}; wanted {wanted.__name__}")
            if isinstance(found, int) and not 0 <= found < 2**63:
                raise BadRequest(f"{path}: {section}[{number}].{field} = {found}; wanted 0 to 2^63 - 1")
