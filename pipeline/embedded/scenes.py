"""The embedded source of training images: scenes drawn by code, in COCO's instances format.

An image depends on the seed and its own id alone, never on the others.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from pipeline.arrays import Image, Mask
from pipeline.embedded.drawing.backdrops import draw_backdrop, haze
from pipeline.embedded.drawing.fields import Field, Picture
from pipeline.embedded.drawing.light import Light, draw_light, photograph
from pipeline.embedded.drawing.outlines import Cover, Outline, cover, place
from pipeline.embedded.drawing.painting import paint
from pipeline.embedded.drawing.things import THINGS
from pipeline.embedded.scenes_coco import annotation
from pipeline.progress import track

CATEGORIES = {name: number for number, name in enumerate([*THINGS, "pile"], start=1)}
_LONG_PX, _SHORT_PX = (288, 353), (208, 273)  # half-open ranges of the sides
_MIN_VISIBLE_PX = 60
_MIN_VISIBLE_SHARE = 0.12  # of what the object would cover alone
_PILE_CHANCE = 0.15
_JPEG_QUALITY = 92
_IDS_PER_IMAGE = 100  # annotation ids of an image start at its id times this


class SceneObject(NamedTuple):
    """An object of a scene and the part of it that nothing hides."""

    category: str
    visible: Mask
    is_crowd: bool


class Scene(NamedTuple):
    """A picture and its objects, from the back to the front."""

    image: Image
    objects: tuple[SceneObject, ...]


def draw_scene(seed: int, image_id: int) -> Scene:
    """The scene with that id: two to seven objects on a backdrop, those in front hide those behind."""
    rng = np.random.default_rng([seed, image_id])
    height, width = _draw_size(rng)
    light = draw_light(rng)
    picture = draw_backdrop(height, width, light, rng)
    names, alphas = [], []
    pile_at = int(rng.integers(0, 7)) if rng.random() < _PILE_CHANCE else -1
    # Large things lie behind: the other way round they would hide everything.
    radii = 0.5 * min(height, width) * np.exp(rng.uniform(np.log(0.15), np.log(0.85), rng.integers(2, 8)))
    for order, radius_px in enumerate(np.sort(radii)[::-1]):
        is_pile = order == pile_at % len(radii) and pile_at >= 0
        name = "pile" if is_pile else str(rng.choice(list(THINGS)))
        add = _add_pile if is_pile else partial(_add_thing, name)
        picture, alpha = add(picture, radius_px, light, rng)
        names.append(name)
        alphas.append(alpha)
    image = photograph(haze(picture, rng), rng, noise=rng.uniform(0.005, 0.035))
    return Scene(image, tuple(_unhidden(names, alphas)))


def write_scenes(folder: Path, seed: int, count: int, workers: int = 2) -> dict[str, int]:
    """Write scenes 1 .. `count` and their instances.json, replacing what `folder` holds; returns counts to print."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    digest = hashlib.sha256()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    # spawn: a fork of a process with OpenCV's threads may hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        drawn = pool.map(partial(_encoded, seed), range(1, count + 1), chunksize=4)
        for jpeg, image, entries in track(drawn, "scenes", count):
            (folder / "images" / image["file_name"]).write_bytes(jpeg)
            digest.update(jpeg)
            images.append(image)
            annotations.extend(entries)
    table = _instances(images, annotations, digest.hexdigest(), seed)
    (folder / "instances.json").write_text(json.dumps(table))
    return {"images": len(images), "annotations": len(annotations), "crowds": sum(a["iscrowd"] for a in annotations)}


def annotate(scene: Scene, image_id: int) -> list[dict[str, Any]]:
    """COCO annotations of a scene."""
    entries = (
        annotation(
            _IDS_PER_IMAGE * image_id + order, image_id, CATEGORIES[item.category], item.visible, is_crowd=item.is_crowd
        )
        for order, item in enumerate(scene.objects)
    )
    return [entry for entry in entries if entry is not None]


def _encoded(seed: int, image_id: int) -> tuple[bytes, dict[str, Any], list[dict[str, Any]]]:
    """A scene as its JPEG file, its entry in `images` and its annotations."""
    cv2.setNumThreads(1)
    scene = draw_scene(seed, image_id)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), quality)
    height, width = scene.image.shape[:2]
    entry = {"id": image_id, "file_name": f"{image_id:012d}.jpg", "height": height, "width": width, "license": 1}
    return jpeg.tobytes(), entry, annotate(scene, image_id)


def _draw_size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width in pixels, landscape twice as often as portrait."""
    long, short = int(rng.integers(*_LONG_PX)), int(rng.integers(*_SHORT_PX))
    return (short, long) if rng.random() < 2 / 3 else (long, short)


def _add_thing(
    name: str, picture: Picture, radius_px: float, light: Light, rng: np.random.Generator
) -> tuple[Picture, Field]:
    """`picture` with one thing somewhere, and what it covers: float32 (H, W)."""
    height, width = picture.shape[:2]
    outline = THINGS[name](rng)
    centre = (width * rng.uniform(0.03, 0.97), height * rng.uniform(0.03, 0.97))
    # Half of the things stand upright, as gravity has it.
    angle = rng.normal(0, 0.1) if rng.random() < 0.5 else rng.uniform(0, 2 * np.pi)
    seen = cover(place(outline, centre, radius_px, angle), height, width)
    if seen is None:
        return picture, np.zeros((height, width), np.float32)
    return paint(picture, seen, radius_px, light, rng), _on_canvas(seen, height, width)


def _add_pile(picture: Picture, radius_px: float, light: Light, rng: np.random.Generator) -> tuple[Picture, Field]:
    """`picture` with a heap of many small things of one kind, and what they cover together."""
    height, width = picture.shape[:2]
    draw = THINGS[str(rng.choice(["ball", "stone", "polygon", "leaf", "ring", "star", "flower"]))]
    spread = max(radius_px, 0.2 * min(height, width))
    middle = np.array([width, height]) * rng.uniform(0.2, 0.8, 2)
    covered = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(12, 36))):
        outline, at, size_px = draw(rng), middle + spread * rng.normal(0, 0.45, 2), spread * rng.uniform(0.1, 0.2)
        seen = cover(_turned(outline, at.tolist(), size_px, rng), height, width)
        if seen is not None:
            picture = paint(picture, seen, size_px, light, rng)
            covered = np.maximum(covered, _on_canvas(seen, height, width))
    return picture, covered


def _turned(outline: Outline, at: list[float], size_px: float, rng: np.random.Generator) -> Outline:
    return place(outline, (at[0], at[1]), size_px, rng.uniform(0, 2 * np.pi))


def _on_canvas(seen: Cover, height: int, width: int) -> Field:
    canvas = np.zeros((height, width), np.float32)
    canvas[seen.window] = seen.whole
    return canvas


def _unhidden(names: list[str], alphas: list[Field]) -> Iterator[SceneObject]:
    """Objects with enough left to see; a pixel belongs to the frontmost object that covers half of it."""
    alone = [alpha >= 0.5 for alpha in alphas]
    for order, (name, covered) in enumerate(zip(names, alone, strict=True)):
        visible = covered & ~np.logical_or.reduce([*alone[order + 1 :], np.zeros_like(covered)])
        if visible.sum() >= max(_MIN_VISIBLE_PX, _MIN_VISIBLE_SHARE * covered.sum()):
            yield SceneObject(name, visible, is_crowd=name == "pile")


def _instances(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], images_sha256: str, seed: int
) -> dict[str, Any]:
    """The instances file; the hash in `info` changes whenever a pixel does."""
    return {
        "info": {"description": "Scenes drawn by code", "version": "1", "seed": seed, "images_sha256": images_sha256},
        "licenses": [{"id": 1, "name": "same as the code", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "thing"} for name, number in CATEGORIES.items()],
    }
