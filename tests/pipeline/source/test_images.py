import struct
import zlib
from io import BytesIO

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.source.images import MOST_PIXELS, UnreadableImageError, decode, examine, read_bytes, resize
from tests.pipeline.strategies import images


def size_of(data):
    found = examine(data)
    return found.height, found.width


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


JPEG = cv2.imencode(".jpg", np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (JPEG[: len(JPEG) // 2], "cut short"),
        (JPEG[: len(JPEG) - 200], "cut short"),
        (b"<html>not found</html>", "not a readable image"),
        (JPEG[:2] + bytes(200) + JPEG[-2:], "not a readable image"),
    ],
)
def test_bytes_that_hold_no_whole_image_are_told_apart(data, reason):
    with pytest.raises(UnreadableImageError, match=reason):
        examine(data)


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>"])
def test_what_is_no_image_is_not_decoded(data):
    with pytest.raises(UnreadableImageError):
        decode(data)


def test_what_a_camera_appends_to_a_photograph_does_not_make_it_cut_short():
    """A motion photograph has its film behind the end mark."""
    assert size_of(JPEG + bytes(100_000)) == (64, 64)


@pytest.mark.parametrize("side", [20_000, 60_000])
def test_an_image_of_too_many_pixels_is_refused_by_what_it_states(side):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )

    with pytest.raises(UnreadableImageError, match=f"more than {MOST_PIXELS} pixels"):
        examine(png)


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
def test_a_damaged_jpeg_that_is_taken_can_be_decoded_at_the_size_that_was_found(data):
    try:
        found = size_of(data)
    except UnreadableImageError:
        return
    assert decode(data).shape[:2] == found


def test_the_look_of_a_photograph_outlives_resizing_and_encoding():
    image = np.kron(np.random.default_rng(1).integers(256, size=(8, 8, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    other = np.kron(np.random.default_rng(2).integers(256, size=(8, 8, 3)), np.ones((40, 40, 1))).astype(np.uint8)

    def look(image, side, quality=95):
        shown = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        return examine(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()).look

    assert (
        (look(image, 320) ^ look(image, 160, 50)).bit_count() <= 4 < (look(image, 320) ^ look(other, 320)).bit_count()
    )


@pytest.mark.parametrize("shape", [(240, 640), (640, 240)])
def test_an_axis_that_shrinks_is_averaged_though_the_other_grows(shape):
    """One-pixel stripes: every second one must not be left out."""
    image = np.zeros((*shape, 3), np.uint8)
    along = 0 if shape[0] > shape[1] else 1
    image[(slice(None),) * along + (slice(None, None, 2),)] = 255

    assert resize(image, (256, 256)).std() < 50  # 25 by averaging both halves, 57 with stripes left out


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_bytes(tmp_path / "gone.jpg")


@pytest.mark.parametrize("name", ["GIF", "ICO", "TGA", "PCX"])
def test_a_format_that_cannot_be_decoded_later_is_refused_when_it_is_examined(name):
    stored = BytesIO()
    PIL.Image.fromarray(np.full((32, 32, 3), 99, np.uint8)).save(stored, name)
    with pytest.raises(UnreadableImageError, match=f"{name} file; wanted JPEG, PNG, BMP, TIFF or WEBP"):
        examine(stored.getvalue())


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_a_channel_are_refused_as_nothing_tells_which_of_them_count(suffix, channels):
    deep = np.full((16, 16, channels), 247, np.uint16)
    with pytest.raises(UnreadableImageError, match="16 bits a channel; wanted 8"):
        examine(cv2.imencode(suffix, deep)[1].tobytes())
