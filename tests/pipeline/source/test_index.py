import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from pipeline.source.coco import read_annotations
from pipeline.source.index import Index, read_indexed_image
from pipeline.source.index_build import build_index, choose_images
from tests.pipeline import tiny


@given(st.sets(st.integers(1, 10**7), min_size=4, max_size=60), st.integers(0, 99))
def test_a_split_names_each_chosen_image_once_whatever_the_order_of_the_file(image_ids, seed):
    split = choose_images(sorted(image_ids), 40, 0.25, seed)

    assert split == choose_images(sorted(image_ids, reverse=True), 40, 0.25, seed)
    assert set(split) <= image_ids
    assert len(split) == min(40, len(image_ids))
    assert sum(name == "val" for name in split.values()) == round(0.25 * len(split))


@pytest.mark.parametrize("val_share", [0.0, 0.01, 1.0])
def test_an_empty_split_is_refused(val_share):
    with pytest.raises(BadRequest, match="both splits need at least one image"):
        choose_images(range(10), 10, val_share, 0)


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


def _damaged(tmp_path, damage):
    """Index a tiny source of which one image was damaged; at most a tenth may be unusable."""
    tiny.draw_source(tmp_path)
    damage(tmp_path / "images" / "000000000003.jpg")
    annotations = read_annotations(tmp_path / "instances.json")
    return build_index(annotations, tmp_path / "images", dict.fromkeys(annotations.images, "train"), 0.1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "cut short"),
        (lambda path: path.write_bytes(b"not an image"), "not a readable image"),
        (lambda path: shutil.copy(path.with_name("000000000004.jpg"), path), "is 64x86, its annotation says 63x87"),
    ],
)
def test_an_unusable_image_is_skipped_with_its_reason(tmp_path, damage, reason):
    rows, instances, skipped, _ = _damaged(tmp_path, damage)

    assert [image.image_id for image in skipped] == [3]
    assert reason in skipped[0].reason
    assert 3 not in {row.image_id for row in rows} | {instance.image_id for instance in instances}
    assert [row.first_instance for row in rows] == np.cumsum([0] + [row.instances for row in rows])[:-1].tolist()


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
    annotations = read_annotations(tmp_path / "instances.json")

    _, _, skipped, _ = build_index(annotations, tmp_path / "images", dict.fromkeys(annotations.images, "train"), 0.1)

    assert [image.reason for image in skipped] == ["its name leads out of the image folder"]


def test_an_instance_without_a_mask_is_counted_by_reason(tmp_path):
    tiny.draw_source(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    content["annotations"][0]["segmentation"] = []
    content["annotations"][1]["segmentation"] = [[1, 1]]
    content["annotations"].append({**content["annotations"][2], "id": 999, "image_id": 999})
    (tmp_path / "instances.json").write_text(json.dumps(content))
    annotations = read_annotations(tmp_path / "instances.json")

    _, instances, _, refused = build_index(
        annotations, tmp_path / "images", dict.fromkeys(annotations.images, "train"), 0.1
    )

    assert refused == {"no segmentation": 1, "degenerate polygon": 1, "of an image that is not listed": 1}
    assert {1, 2}.isdisjoint(instance.instance_id for instance in instances)


def test_an_image_that_changed_since_it_was_indexed_is_an_error(workspace, tmp_path):
    image = Index(workspace.index).image(0)
    (tmp_path / image.file).write_bytes(b"other")

    with pytest.raises(Failure, match="changed since it was indexed; run `dvc repro -f index`"):
        read_indexed_image(tmp_path, image)


def test_an_index_that_is_not_there_says_how_to_make_it(tmp_path):
    with pytest.raises(BadRequest, match="run `dvc repro index`"):
        Index(tmp_path)
