import json
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from pipeline.source.coco import WHOLE, read_annotations
from pipeline.source.index import Index, read_indexed_image
from pipeline.source.index_build import build_index, choose_images
from tests.pipeline import tiny


@given(st.sets(st.integers(1, 10**7), min_size=4, max_size=60), st.integers(0, 99))
def test_a_split_names_each_chosen_image_once_whatever_the_order_of_the_file(image_ids, seed):
    places = choose_images(dict.fromkeys(sorted(image_ids), WHOLE), 40, 0.25, seed)

    assert places == choose_images(dict.fromkeys(sorted(image_ids, reverse=True), WHOLE), 40, 0.25, seed)
    assert set(places) <= image_ids
    assert len(places) == min(40, len(image_ids))
    assert sum(place.split == "val" for place in places.values()) == round(0.25 * len(places))


@given(st.sets(st.integers(1, 10**7), min_size=9, max_size=60), st.integers(1, 10**7), st.integers(0, 99))
def test_an_image_more_moves_at_most_one_to_the_other_split(image_ids, more, seed):
    few, many = (
        choose_images(dict.fromkeys(sorted(ids), WHOLE), 99, 0.25, seed)
        for ids in (image_ids - {more}, image_ids | {more})
    )

    assert all(many[image_id].rank == place.rank for image_id, place in few.items())
    assert sum(many[image_id] != place for image_id, place in few.items()) <= 1


@pytest.mark.parametrize("val_share", [0.0, 0.01, 1.0])
def test_an_empty_split_is_refused(val_share):
    with pytest.raises(BadRequest, match="both splits need at least one image"):
        choose_images(dict.fromkeys(range(10), WHOLE), 10, val_share, 0)


def test_the_index_gives_back_what_the_source_holds(workspace):
    index = Index(workspace.index)
    annotations = read_annotations(workspace.root / "source" / "instances.json")

    assert sorted(index.image_ids) == sorted(annotations.images)
    assert [*index.rows("train"), *index.rows("val")] == list(range(len(index)))
    for row in range(len(index)):
        image = index.image(row)
        wanted = annotations.instances[image.image_id]
        found = index.instances(row)
        assert [instance.instance_id for instance in found] == [annotation["id"] for annotation in wanted]
        masks = index.masks(row, found)
        assert [mask.shape for mask in masks] == [(image.height, image.width)] * len(found)
        assert [mask.sum() for mask in masks] == [annotation["area"] for annotation in wanted]
        assert read_indexed_image(workspace.root / "source" / "images", image).shape[:2] == (image.height, image.width)


def index_of(folder):
    """The index of a source, half of it to validate; at most a tenth may be unusable."""
    annotations = read_annotations(folder / "instances.json")
    return build_index(annotations, folder / "images", choose_images(annotations.groups, 99, 0.5, 0), 0.1)


def _damaged(tmp_path, damage):
    tiny.draw_source(tmp_path)
    damage(tmp_path / "images" / "000000000003.jpg")
    return index_of(tmp_path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-300]), "cut short"),
        (lambda path: path.write_bytes(b"not an image"), "not a readable image"),
        (lambda path: shutil.copy(path.with_name("000000000004.jpg"), path), "is 64x86, its annotation says 63x87"),
    ],
)
def test_an_unusable_image_is_skipped_with_its_reason(tmp_path, damage, reason):
    found = _damaged(tmp_path, damage)

    assert [image.image_id for image in found.skipped] == [3]
    assert reason in found.skipped[0].reason
    rows = found.rows
    assert 3 not in {row.image_id for row in rows} | {instance.image_id for instance in found.instances}
    assert [row.first_instance for row in rows] == np.cumsum([0] + [row.instances for row in rows])[:-1].tolist()
    assert [(row.split, row.rank) for row in rows] == sorted((row.split, row.rank) for row in rows)


def add_image(folder, image_id, name):
    """Name another file of the source as an image, with the size of image 3."""
    content = json.loads((folder / "instances.json").read_text())
    content["images"].append({**content["images"][2], "id": image_id, "file_name": name})
    (folder / "instances.json").write_text(json.dumps(content))


def test_a_file_that_stands_twice_is_taken_once(tmp_path):
    tiny.draw_source(tmp_path)
    shutil.copy(tmp_path / "images" / "000000000003.jpg", tmp_path / "images" / "again.jpg")
    add_image(tmp_path, 77, "again.jpg")

    found = index_of(tmp_path)

    assert [(image.image_id, image.reason) for image in found.repeated] == [(77, "same file as image 3")]
    assert {row.image_id for row in found.rows} == set(range(1, 13))
    assert found.skipped == []


def test_photographs_that_look_alike_are_kept_in_one_split(tmp_path):
    """Encoded again, under many ids: each would be drawn for a split of its own."""
    tiny.draw_source(tmp_path)
    image = cv2.imread(str(tmp_path / "images" / "000000000003.jpg"))
    for quality in range(60, 72):
        cv2.imwrite(str(tmp_path / "images" / f"{quality}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        add_image(tmp_path, quality, f"{quality}.jpg")

    found = index_of(tmp_path)

    assert found.alike == [[3, *range(60, 72)]]
    splits = {row.image_id: row.split for row in found.rows}
    assert len({splits[image_id] for image_id in found.alike[0]}) == 1
    assert len(splits) == 24
    assert set(splits.values()) == {"train", "val"}


def test_too_many_unusable_images_fail_the_stage(tmp_path):
    def damage_two(path):
        path.unlink()
        path.with_name("000000000005.jpg").unlink()

    with pytest.raises(Failure, match=r"2 of 12 images cannot be used.*max_unreadable_share = 0.1.*000000000003.jpg"):
        _damaged(tmp_path, damage_two)


def test_a_file_name_cannot_lead_out_of_the_folder(tmp_path):
    tiny.draw_source(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    (tmp_path / "secret.jpg").write_bytes((tmp_path / "images" / "000000000003.jpg").read_bytes())
    content["images"][2]["file_name"] = "../secret.jpg"
    (tmp_path / "instances.json").write_text(json.dumps(content))

    assert [image.reason for image in index_of(tmp_path).skipped] == ["its name leads out of the image folder"]


def test_an_instance_without_a_mask_is_counted_by_reason(tmp_path):
    tiny.draw_source(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    content["annotations"][0]["segmentation"] = []
    content["annotations"][1]["segmentation"] = [[1, 1]]
    content["annotations"].append({**content["annotations"][2], "id": 999, "image_id": 999})
    (tmp_path / "instances.json").write_text(json.dumps(content))

    found = index_of(tmp_path)

    assert found.refused == {"no segmentation": 1, "degenerate polygon": 1, "of an image that is not listed": 1}
    assert {1, 2}.isdisjoint(instance.instance_id for instance in found.instances)


def test_an_image_that_changed_since_it_was_indexed_is_an_error(workspace, tmp_path):
    image = Index(workspace.index).image(0)
    (tmp_path / image.file).write_bytes(b"other")

    with pytest.raises(Failure, match="changed since it was indexed; run `dvc repro -f index`"):
        read_indexed_image(tmp_path, image)


def test_an_index_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(BadRequest, match="run `dvc repro index`"):
        Index(tmp_path)
