import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import Failure
from model.benchmark.layouts import GOOD, Query
from model.benchmark.protocols import read_image, read_query, read_seen, resize_image, resize_mask

sides = st.integers(1, 40)
protocols = st.sampled_from(["exact", "paper"])


def write(path, pixels):
    cv2.imwrite(str(path), pixels)
    return path


@given(sides, sides, sides, sides, protocols)
def test_resizing_gives_the_asked_size_and_type(height, width, new_height, new_width, protocol):
    image = resize_image(np.full((height, width, 3), 77, np.uint8), (new_height, new_width), protocol)
    mask = resize_mask(np.ones((height, width), bool), (new_height, new_width), protocol)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, np.full((new_height, new_width, 3), 77 / 255), atol=1e-6)
    assert mask.dtype == bool
    assert (mask == np.ones((new_height, new_width), bool)).all()


@given(sides, st.integers(1, 5))
def test_an_exact_mask_enlarged_by_a_whole_factor_and_shrunk_again_is_itself(side, factor):
    mask = np.random.default_rng(side).random((side, side)) > 0.5
    large = resize_mask(mask, (side * factor, side * factor), "exact")
    assert np.array_equal(large, mask.repeat(factor, 0).repeat(factor, 1))
    assert np.array_equal(resize_mask(large, (side, side), "exact"), mask)


def test_a_shrunk_mask_stays_where_it_was():
    mask = np.zeros((90, 90), bool)
    mask[30:60, 30:60] = True
    assert np.argwhere(resize_mask(mask, (30, 30), "exact")).mean() == 14.5


def bilinear(pixels, height, width):
    """Aligned corners by hand: output row i lies at i (h - 1) / (H - 1) between the input's rows."""
    rows = np.linspace(0, pixels.shape[0] - 1, height)
    columns = np.linspace(0, pixels.shape[1] - 1, width)
    up, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = np.minimum(up + 1, pixels.shape[0] - 1), np.minimum(left + 1, pixels.shape[1] - 1)
    v, h = (rows - up)[:, None], (columns - left)[None]
    above = (1 - h) * pixels[up][:, left] + h * pixels[up][:, right]
    below = (1 - h) * pixels[down][:, left] + h * pixels[down][:, right]
    return (1 - v) * above + v * below


@given(st.integers(2, 30), st.integers(2, 30), st.integers(2, 30), st.integers(2, 30))
def test_the_papers_resize_is_bilinear_between_aligned_corners(height, width, new_height, new_width):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    resized = resize_image(image, (new_height, new_width), "paper")
    for channel in range(3):
        wanted = bilinear(image[..., channel] / 255, new_height, new_width)
        np.testing.assert_allclose(resized[..., channel], wanted, atol=1e-5)


def test_kornias_resize_is_the_papers():
    kornia = pytest.importorskip("kornia")
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    planes = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
    wanted = kornia.geometry.transform.resize(planes, (32, 64), "bilinear", align_corners=True, antialias=False)
    found = torch.from_numpy(resize_image(image, (32, 64), "paper")).permute(2, 0, 1)[None]
    torch.testing.assert_close(found, wanted)


def test_the_papers_masks_are_wider_than_the_exact_ones():
    mask = np.zeros((90, 90), bool)
    mask[31:59, 31:59] = True
    exact, paper = (resize_mask(mask, (60, 60), protocol) for protocol in ("exact", "paper"))
    assert (paper | ~exact).all()
    assert paper.sum() > exact.sum()


def test_a_query_is_read_with_its_mask(tmp_path):
    image = write(tmp_path / "image.png", np.full((8, 10, 3), 128, np.uint8))
    mask = write(tmp_path / "mask.png", np.eye(8, 10, dtype=np.uint8))
    found, truth = read_query(Query(image, mask, "cut"))
    assert (found.shape, found.dtype) == ((8, 10, 3), np.uint8)
    assert np.array_equal(truth, np.eye(8, 10, dtype=bool))
    assert not read_query(Query(image, None, GOOD))[1].any()


def test_the_truth_of_an_anomalous_query_without_mask_is_not_known(tmp_path):
    image = write(tmp_path / "image.png", np.full((8, 10, 3), 128, np.uint8))
    assert not read_seen(Query(image, None, "cut"), (32, 32), "exact").known
    assert read_seen(Query(image, None, GOOD), (32, 32), "exact").known


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


def test_a_mask_of_another_size_is_an_error(tmp_path):
    image = write(tmp_path / "000.bmp", np.full((8, 10, 3), 128, np.uint8))
    mask = write(tmp_path / "000.png", np.zeros((9, 10), np.uint8))
    with pytest.raises(Failure, match=r"000\.png: mask is 10 x 9 px, its image .*000\.bmp is 10 x 8 px; wanted"):
        read_query(Query(image, mask, "cut"))


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
