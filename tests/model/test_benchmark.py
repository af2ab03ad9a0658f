import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from model.benchmark import Query, read_image, read_mvtec, read_query, resize_image, resize_mask

sides = st.integers(1, 40)


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 10, 3), 128, np.uint8) if pixels is None else pixels)
    return path


@pytest.fixture
def root(tmp_path):
    """Two categories; `screw` names its masks <stem>_mask.png, `nut` <stem>.png."""
    for category, mask_name in (("screw", "000_mask.png"), ("nut", "000.png")):
        write(tmp_path / category / "train/good/000.png")
        write(tmp_path / category / "train/good/001.JPG")
        write(tmp_path / category / "test/good/000.jpeg")
        write(tmp_path / category / "test/cut/000.bmp")
        write(tmp_path / category / "ground_truth/cut" / mask_name, np.eye(8, 10, dtype=np.uint8) * 255)
    return tmp_path


def test_categories_come_by_name_with_every_image_and_mask(root):
    nut, screw = read_mvtec(root)
    assert [nut.name, screw.name] == ["nut", "screw"]
    assert screw.normals == (root / "screw/train/good/000.png", root / "screw/train/good/001.JPG")
    assert screw.queries == (
        Query(root / "screw/test/cut/000.bmp", root / "screw/ground_truth/cut/000_mask.png", "cut"),
        Query(root / "screw/test/good/000.jpeg", None, "good"),
    )
    assert nut.queries[0].mask_path == root / "nut/ground_truth/cut/000.png"


def test_root_may_be_one_category(root):
    (category,) = read_mvtec(root / "nut")
    assert category == read_mvtec(root)[0]


def test_one_category_is_named_even_from_inside_its_folder(root, monkeypatch):
    monkeypatch.chdir(root / "nut")
    assert read_mvtec(".")[0].name == "nut"


def test_other_files_are_passed_over(root):
    before = read_mvtec(root)
    (root / "readme.txt").touch()
    (root / "screw/train/good/Thumbs.db").touch()
    (root / "screw/test/cut/._000.bmp").touch()
    (root / "licences").mkdir()
    assert read_mvtec(root) == before


def test_a_query_is_read_with_its_mask(root):
    cut, good = read_mvtec(root)[0].queries
    image, mask = read_query(cut)
    assert (image.shape, image.dtype) == ((8, 10, 3), np.uint8)
    assert np.array_equal(mask, np.eye(8, 10, dtype=bool))
    assert not read_query(good)[1].any()


def test_images_are_rgb(tmp_path):
    blue_green_red = np.zeros((4, 4, 3), np.uint8)
    blue_green_red[..., 2] = 200
    assert read_image(write(tmp_path / "red.png", blue_green_red))[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_have_three_channels(tmp_path, channels):
    path = write(tmp_path / "image.png", np.full((4, 4, channels), 90, np.uint8))
    assert (read_image(path) == np.full((4, 4, 3), 90)).all()


def test_stored_pixels_are_read_whatever_the_exif_orientation(tmp_path):
    path = write(tmp_path / "turned.jpg", np.zeros((8, 24, 3), np.uint8))
    stored = path.read_bytes()
    # An APP1 segment whose only entry (tag 0x0112, one SHORT) asks for a quarter turn (6).
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(stored[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + stored[2:])
    assert cv2.imread(str(path)).shape == (24, 8, 3)
    assert read_image(path).shape == (8, 24, 3)


@given(sides, sides, sides, sides)
def test_resizing_gives_the_asked_size_and_type(height, width, new_height, new_width):
    image = resize_image(np.full((height, width, 3), 77, np.uint8), (new_height, new_width))
    mask = resize_mask(np.ones((height, width), bool), (new_height, new_width))
    assert image.dtype == np.uint8
    assert (image == np.full((new_height, new_width, 3), 77)).all()
    assert mask.dtype == bool
    assert (mask == np.ones((new_height, new_width), bool)).all()


@given(sides, st.integers(1, 5))
def test_a_mask_enlarged_by_a_whole_factor_and_shrunk_again_is_itself(side, factor):
    mask = np.random.default_rng(side).random((side, side)) > 0.5
    large = resize_mask(mask, (side * factor, side * factor))
    assert np.array_equal(large, mask.repeat(factor, 0).repeat(factor, 1))
    assert np.array_equal(resize_mask(large, (side, side)), mask)


def test_a_shrunk_mask_stays_where_it_was():
    mask = np.zeros((90, 90), bool)
    mask[30:60, 30:60] = True
    assert np.argwhere(resize_mask(mask, (30, 30))).mean() == 14.5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda root: root / "nowhere", BadRequest, r"nowhere: no such folder; wanted <category>/train/good"),
        (lambda root: root / "nut" / "test", BadRequest, r"test: holds no category \(found cut, good\); wanted"),
        (lambda root: root / "nut/train/good", BadRequest, r"good: holds no category \(found no folder\)"),
        (lambda root: _without(root, "nut/train/good"), Failure, r"nut/train/good: no normal image; wanted"),
        (lambda root: _without(root, "nut/test/*"), Failure, r"nut/test: no test image; wanted png"),
        (
            lambda root: _without(root, "nut/ground_truth/cut"),
            Failure,
            r"nut/test/cut/000\.bmp: no mask; wanted .*nut/ground_truth/cut/000_mask\.png or 000\.png$",
        ),
    ],
)
def test_a_wrong_folder_is_one_line_that_says_what_was_wanted(root, change, error, message):
    with pytest.raises(error, match=message) as caught:
        read_mvtec(change(root))
    assert "\n" not in str(caught.value)


def _without(root, pattern):
    for folder in root.glob(pattern):
        for path in folder.iterdir():
            path.unlink()
    return root


def test_a_mask_of_another_size_is_an_error(root):
    query = read_mvtec(root)[0].queries[0]
    write(query.mask_path, np.zeros((9, 10), np.uint8))
    with pytest.raises(Failure, match=r"cut/000\.png: mask is 10 x 9 px, its image .*000\.bmp is 10 x 8 px; wanted"):
        read_query(query)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"x\.png: cannot be read: No such file"),
        (b"", r"x\.png: not an image \(0 bytes\)"),
        (b"GIF", r"x\.png: not an image \(3 bytes\); wanted png"),
    ],
)
def test_a_file_that_is_no_image_is_an_error(tmp_path, content, message):
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Failure, match=message):
        read_image(path)


def test_the_hazelnut_photographs_are_one_category(shared):
    (category,) = read_mvtec(shared / "data/hazelnut_toy")
    assert category.name == "hazelnut_toy"
    assert {query.defect for query in category.queries} == {"good", "colour"}
    for query in category.queries:
        image, mask = read_query(query)
        assert image.shape == (512, 512, 3)
        assert mask.any() == (query.defect != "good")
