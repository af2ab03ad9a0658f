"""Laws of the embedded scenes: an image is a function of seed and id, and its annotations tell what it shows."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as rle
from pycocotools.coco import COCO

from pipeline.arrays import Mask
from pipeline.embedded.scenes import CATEGORIES, Scene, annotate, draw_scene, write_scenes
from pipeline.embedded.scenes_coco import polygons, run_lengths

SEED = 3
COUNT = 30
NORMAL_PX = 400  # objects of fewer pixels are mostly edge: their polygons need not fit as well


@pytest.fixture(scope="module")
def scenes() -> dict[int, Scene]:
    return {image_id: draw_scene(SEED, image_id) for image_id in range(1, COUNT + 1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "stale.jpg").write_bytes(b"of an earlier run")
    write_scenes(folder, SEED, 8)
    return folder


@pytest.fixture(scope="module")
def coco(folder: Path) -> COCO:
    return COCO(str(folder / "instances.json"))


def filled(mask: Mask) -> Mask:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, cv2.FILLED) > 0


def iou(first: Mask, second: Mask) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_a_scene_depends_on_seed_and_id_alone(scenes: dict[int, Scene]) -> None:
    again = draw_scene(SEED, 7)

    np.testing.assert_array_equal(again.image, scenes[7].image)
    assert [item.category for item in again.objects] == [item.category for item in scenes[7].objects]
    assert not np.array_equal(draw_scene(SEED + 1, 7).image[:200, :200], again.image[:200, :200])


def test_seed_and_id_do_not_add_up() -> None:
    assert not np.array_equal(draw_scene(7, 8).image[:200, :200], draw_scene(8, 7).image[:200, :200])


def test_writing_fewer_images_or_on_one_worker_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", SEED, 3, workers=1)

    for path in sorted((tmp_path / "scenes" / "images").iterdir()):
        assert path.read_bytes() == (folder / "images" / path.name).read_bytes()


def test_the_folder_holds_the_images_and_nothing_of_an_earlier_run(folder: Path) -> None:
    expected = [f"{image_id:012d}.jpg" for image_id in range(1, 9)]

    assert sorted(path.name for path in (folder / "images").iterdir()) == expected


def test_info_names_the_pixels(folder: Path) -> None:
    digest = hashlib.sha256()
    for path in sorted((folder / "images").iterdir()):
        digest.update(path.read_bytes())
    table = json.loads((folder / "instances.json").read_text())

    assert table["info"]["images_sha256"] == digest.hexdigest()


def test_pycocotools_reads_what_was_drawn(coco: COCO, scenes: dict[int, Scene]) -> None:
    for image_id, image in coco.imgs.items():
        entries = coco.loadAnns(coco.getAnnIds(image_id))
        assert scenes[image_id].image.shape == (image["height"], image["width"], 3)
        for entry in entries:
            item = scenes[image_id].objects[entry["id"] % 100]
            read = coco.annToMask(entry).astype(bool)
            expected = item.visible if item.is_crowd else filled(item.visible)
            assert entry["category_id"] == CATEGORIES[item.category]
            assert entry["area"] == pytest.approx(read.sum(), rel=0.1, abs=20)
            if expected.sum() >= NORMAL_PX:
                assert iou(read, expected) > 0.9


def test_boxes_hold_the_masks(coco: COCO) -> None:
    for entry in coco.anns.values():
        col, row, width, height = entry["bbox"]
        rows, cols = np.nonzero(coco.annToMask(entry))

        assert row - 1 <= rows.min()
        assert rows.max() <= row + height + 1
        assert col - 1 <= cols.min()
        assert cols.max() <= col + width + 1


def test_visible_masks_are_disjoint(scenes: dict[int, Scene]) -> None:
    for scene in scenes.values():
        assert sum(item.visible.astype(int) for item in scene.objects).max() <= 1


def test_scenes_are_diverse(scenes: dict[int, Scene]) -> None:
    entries = [entry for image_id, scene in scenes.items() for entry in annotate(scene, image_id)]
    sizes = {scene.image.shape[:2] for scene in scenes.values()}
    parts = Counter(len(entry["segmentation"]) for entry in entries if not entry["iscrowd"])

    assert len(sizes) > COUNT // 2
    assert {height > width for height, width in sizes} == {True, False}
    assert sum(entry["iscrowd"] for entry in entries) >= 2
    assert sum(count for number, count in parts.items() if number > 1) >= 5
    assert len({entry["category_id"] for entry in entries}) > len(CATEGORIES) // 2
    assert all(1 <= len(scene.objects) <= 7 for scene in scenes.values())


def test_things_hide_things_behind_them(scenes: dict[int, Scene]) -> None:
    """A front object's outline, filled and grown by a pixel, meets a visible mask behind it."""
    meetings = 0
    for scene in scenes.values():
        for order, item in enumerate(scene.objects):
            grown = cv2.dilate(item.visible.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            meetings += sum(bool((grown & behind.visible).any()) for behind in scene.objects[:order])

    assert meetings > COUNT // 2


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_decode_to_the_mask(mask: Mask) -> None:
    code = run_lengths(mask)

    decoded = rle.decode(rle.frPyObjects(code, *mask.shape))
    np.testing.assert_array_equal(decoded.astype(bool), mask)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(6, 40), st.integers(6, 40))
def test_polygons_rasterise_back_to_a_box_at_any_place(row: int, col: int, height: int, width: int) -> None:
    mask = np.zeros((80, 80), bool)
    mask[row : row + height, col : col + width] = True

    codes = rle.frPyObjects([outline.ravel().tolist() for outline in polygons(mask)], 80, 80)
    assert iou(rle.decode(rle.merge(codes)).astype(bool), mask) > 0.9
