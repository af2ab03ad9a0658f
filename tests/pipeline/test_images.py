import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.images import UnreadableImageError, decode, measure, read_bytes, resize
from tests.pipeline.strategies import images


@given(images())
def test_a_png_decodes_to_its_own_pixels_in_rgb(image):
    _, data = cv2.imencode(".png", image[..., ::-1])

    assert (decode(data.tobytes()) == image).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@given(image=images())
def test_an_image_is_measured_as_it_would_be_decoded(suffix, image):
    _, data = cv2.imencode(suffix, image)

    assert measure(data.tobytes()) == decode(data.tobytes()).shape[:2] == image.shape[:2]


@given(images(), st.integers(1, 40), st.integers(1, 40))
def test_resize_gives_the_size_asked_for_within_the_range_of_the_image(image, height, width):
    resized = resize(image, (height, width))

    assert resized.shape == (height, width, 3)
    assert image.min() <= resized.min()
    assert resized.max() <= image.max()


def test_resizing_to_the_same_size_changes_nothing():
    image = np.random.default_rng(0).integers(256, size=(9, 7, 3), dtype=np.uint8)

    assert (resize(image, (9, 7)) == image).all()


def test_grayscale_becomes_three_channels_and_exif_rotation_is_ignored():
    _, data = cv2.imencode(".jpg", np.full((8, 16), 77, np.uint8))
    # An Exif block that asks for a quarter turn, put where cameras put it: behind the start mark.
    exif = bytes.fromhex("ffe1002245786966000049492a00080000000100120103000100000006000000000000000000")
    turned = data.tobytes()[:2] + exif[: 2 + 0x22] + data.tobytes()[2:]

    assert decode(data.tobytes()).shape == (8, 16, 3)
    assert decode(turned).shape == (8, 16, 3)
    assert measure(turned) == (8, 16)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "empty file"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: b"<html>not found</html>", "not a readable image"),
        (lambda data: data[:2] + bytes(200) + data[-2:], "not a readable image"),
    ],
)
@pytest.mark.parametrize("read", [decode, measure])
def test_bytes_that_hold_no_whole_image_are_told_apart(read, damage, reason):
    _, data = cv2.imencode(".jpg", np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8))

    with pytest.raises(UnreadableImageError, match=reason):
        read(damage(data.tobytes()))


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_bytes(tmp_path / "gone.jpg")
