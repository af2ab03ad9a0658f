import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.source.images import UnreadableImageError, decode, read_bytes, resize, size_of
from tests.pipeline.strategies import images


@given(images())
def test_a_png_decodes_to_its_own_pixels_in_rgb(image):
    _, data = cv2.imencode(".png", image[..., ::-1])

    assert (decode(data.tobytes()) == image).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
@given(image=images())
def test_an_image_is_measured_as_it_would_be_decoded(suffix, image):
    _, data = cv2.imencode(suffix, image)

    assert size_of(data.tobytes()) == decode(data.tobytes()).shape[:2] == image.shape[:2]


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
    assert size_of(turned) == (8, 16)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "empty file"),
        (lambda data: data[: len(data) // 2], "cut short"),
        (lambda data: b"<html>not found</html>", "not a readable image"),
        (lambda data: data[:2] + bytes(200) + data[-2:], "not a readable image"),
    ],
)
@pytest.mark.parametrize("read", [decode, size_of])
def test_bytes_that_hold_no_whole_image_are_told_apart(read, damage, reason):
    _, data = cv2.imencode(".jpg", np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8))

    with pytest.raises(UnreadableImageError, match=reason):
        read(damage(data.tobytes()))


@st.composite
def damaged_jpegs(draw):
    """Small JPEGs of every sort, with bytes changed, taken out or put in, mostly in what stands before the pixels."""
    height, width, channels = draw(st.sampled_from([(16, 16, 3), (33, 20, 3), (16, 24, 1)]))
    pixels = np.random.default_rng(0).integers(256, size=(height, width, channels), dtype=np.uint8)
    how = draw(
        st.sampled_from(
            [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 1], [cv2.IMWRITE_JPEG_OPTIMIZE, 1]]
        )
    )
    data = bytearray(cv2.imencode(".jpg", pixels, how)[1].tobytes())
    if draw(st.booleans()):  # a thumbnail, a JPEG in the JPEG
        small = b"Exif\0\0" + cv2.imencode(".jpg", pixels[:8, :8])[1].tobytes()
        data[2:2] = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(2, len(data) if draw(st.booleans()) else 620))
        data[place : place + draw(st.integers(0, 20))] = draw(
            st.one_of(st.binary(max_size=20), st.integers(0, 255).map(lambda marker: bytes([255, marker])))
        )
    return bytes(data)


@settings(max_examples=300)
@given(damaged_jpegs())
def test_a_damaged_jpeg_is_measured_just_when_it_can_be_decoded(data):
    found = []
    for read in (size_of, lambda data: decode(data).shape[:2]):
        try:
            found.append(read(data))
        except UnreadableImageError as error:
            found.append(str(error))

    assert found[0] == found[1]


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_bytes(tmp_path / "gone.jpg")
