import json

import numpy as np
import pytest
from hypothesis import given
from pycocotools import mask as mask_api

from configs.errors import BadRequest
from pipeline.source.coco import read_annotations
from pipeline.source.run_lengths import UnusableInstanceError, decode_mask, mask_area, run_lengths
from tests.pipeline.strategies import masks

IMAGE = {"id": 1, "file_name": "a.jpg", "height": 8, "width": 9}


@given(masks())
def test_every_run_length_form_gives_the_mask_back(mask):
    height, width = mask.shape
    compressed = mask_api.encode(np.asfortranarray(mask, np.uint8))
    columns = mask.T.ravel()  # COCO runs down the columns and begins with the zeros
    edges = np.flatnonzero(np.diff(np.concatenate([[False], columns]).astype(np.int8)))
    plain = np.diff(np.concatenate([[0], edges, [columns.size]])).tolist()
    for counts in (compressed["counts"].decode(), plain):
        segmentation = {"size": [height, width], "counts": counts}
        if not mask.any():
            with pytest.raises(UnusableInstanceError, match="empty mask"):
                run_lengths(segmentation, height, width)
            continue
        encoded = run_lengths(segmentation, height, width)
        assert (decode_mask(encoded, height, width) == mask).all()
        assert mask_area(encoded, height, width) == mask.sum()


def test_the_parts_of_a_polygon_are_one_mask():
    boxes = [[0, 0, 2, 0, 2, 2, 0, 2], [5, 5, 8, 5, 8, 8, 5, 8]]

    mask = decode_mask(run_lengths(boxes, 8, 9), 8, 9)

    assert mask[:2, :2].all()
    assert mask[5:, 5:8].all()
    assert mask.sum() == 4 + 9


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ("polygon", "no segmentation"),
        ([[1, 1, 2, 2]], "degenerate polygon"),
        ([[20, 20, 30, 20, 30, 30]], "empty mask"),  # outside the frame
        ({"size": [4, 4], "counts": [16]}, "run lengths of another size"),
        ([[np.nan, 1, 2, 2, 5, 5]], "polygon of other things than numbers"),
        ([["1", "1", "2", "2", "5", "5"]], "polygon of other things than numbers"),
        ([[None] * 6], "polygon of other things than numbers"),
        ([[[1, 1], [2, 2], [5, 5]]], "polygon of other things than numbers"),
        ([[1, [2]]], "polygon of other things than numbers"),
        ([7], "polygon of other things than numbers"),
        ([[0, 0, 1e9, 0, 1e9, 1e9]], "polygon far outside the image"),
        ({"size": [8, 9], "counts": [3, 3]}, "run lengths do not fill the image"),
        ({"size": [8, 9], "counts": [80, -8]}, "run lengths of other things than counts"),
        ({"size": [8, 9], "counts": ["72"]}, "run lengths of other things than counts"),
        ({"size": [8, 9], "counts": 72}, "run lengths of other things than counts"),
        ({"size": [8, 9], "counts": ""}, "run lengths do not fill the image"),
        ({"size": [8, 9], "counts": "~~~"}, "run lengths of other things than counts"),
        ({"size": [8, 9], "counts": "1000"}, "run lengths do not fill the image"),
        ({"size": [8, 9], "counts": "\u00e9"}, "run lengths of other things than counts"),
    ],
)
def test_an_annotation_without_a_mask_is_refused_with_a_reason(segmentation, reason):
    with pytest.raises(UnusableInstanceError, match=reason):
        run_lengths(segmentation, 8, 9)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"{", "not JSON"),
        (b"[1, 2]", "no list `images`"),
        (json.dumps({"images": []}).encode(), "no list `annotations`"),
        (json.dumps({"images": [], "annotations": []}).encode(), "`images` is empty"),
        (json.dumps({"images": [{"id": "1"}], "annotations": []}).encode(), r"images\[0\].id = '1'; wanted int"),
        (json.dumps({"images": [IMAGE, IMAGE], "annotations": []}).encode(), "1 image ids stand more than once"),
        (json.dumps({"images": [IMAGE | {"id": -1}], "annotations": []}).encode(), r"id = -1; wanted 0 to 2\^63 - 1"),
        (json.dumps({"images": [IMAGE | {"id": 2**70}], "annotations": []}).encode(), r"wanted 0 to 2\^63 - 1"),
        (json.dumps({"images": [IMAGE], "annotations": [7]}).encode(), r"annotations\[0\].id = None; wanted int"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "instances.json"
    path.write_bytes(content)

    with pytest.raises(BadRequest, match=message) as raised:
        read_annotations(path)

    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_names_the_parameter(tmp_path):
    with pytest.raises(BadRequest, match=r"data\.annotations must name a COCO instances JSON"):
        read_annotations(tmp_path / "gone.json")


def test_annotations_of_unknown_images_and_ids_taken_are_counted(tmp_path):
    path = tmp_path / "instances.json"
    ids = [(1, 1), (2, 5), (3, 1), (3, 1)]
    annotations = [{"id": number, "image_id": image, "place": place} for place, (number, image) in enumerate(ids)]
    path.write_text(json.dumps({"images": [IMAGE], "annotations": annotations}))

    found = read_annotations(path)

    assert found.refused == {"of an image that is not listed": 1, "of an id that stands more than once": 1}
    assert [annotation["place"] for annotation in found.instances[1]] == [0, 2]
