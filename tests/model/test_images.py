import zlib
from typing import get_args

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from configs.errors import Failure
from model.images import Stretch, fitted, read_image, resize_image, resize_mask, shrink_by

sides = st.integers(1, 40)


protocols = st.sampled_from(get_args(Stretch))


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
    large = resize_mask(mask, (side * factor, side * factor), "areas")
    assert np.array_equal(large, mask.repeat(factor, 0).repeat(factor, 1))
    assert np.array_equal(resize_mask(large, (side, side), "areas"), mask)


def test_a_shrunk_mask_stays_where_it_was():
    mask = np.zeros((90, 90), bool)
    mask[30:60, 30:60] = True
    assert np.argwhere(resize_mask(mask, (30, 30), "areas")).mean() == 14.5


@pytest.mark.parametrize("shape", [(100, 133), (61, 40), (24, 24), (31, 20)])
def test_a_cut_square_is_pil_s_bicubic_and_the_mask_is_cut_with_it(shape):
    noise = np.random.default_rng([0]).integers(0, 256, (*shape, 3), np.uint8)
    shorter = min(shape)
    larger = PillowImage.fromarray(noise).resize(
        (int(24 * shape[1] / shorter), int(24 * shape[0] / shorter)), PillowImage.BICUBIC
    )
    top, left = (round((length - 24) / 2) for length in (larger.height, larger.width))
    wanted = np.asarray(larger)[top : top + 24, left : left + 24]
    assert np.array_equal(np.round(255 * resize_image(noise, (24, 24), "crop")), wanted)
    mask = resize_mask(np.indices(shape)[1] >= shape[1] / 2, (24, 24), "crop")
    assert not mask[:, :11].any()
    assert mask[:, 13:].all()


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
    resized = resize_image(image, (new_height, new_width), "corners")
    for channel in range(3):
        wanted = bilinear(image[..., channel] / 255, new_height, new_width)
        np.testing.assert_allclose(resized[..., channel], wanted, atol=1e-5)


def test_kornias_resize_is_the_papers():
    kornia = pytest.importorskip("kornia")
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    planes = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
    wanted = kornia.geometry.transform.resize(planes, (32, 64), "bilinear", align_corners=True, antialias=False)
    found = torch.from_numpy(resize_image(image, (32, 64), "corners")).permute(2, 0, 1)[None]
    torch.testing.assert_close(found, wanted)


def test_the_papers_masks_are_wider_than_the_exact_ones():
    mask = np.zeros((90, 90), bool)
    mask[31:59, 31:59] = True
    exact, paper = (resize_mask(mask, (60, 60), protocol) for protocol in ("areas", "corners"))
    assert (paper | ~exact).all()
    assert paper.sum() > exact.sum()


def test_pillow_s_images_are_torchvision_s_and_its_masks_take_the_nearest_pixel():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(256, size=(90, 70, 3), dtype=np.uint8), rng.random((90, 70)) > 0.5
    pixels = PIL.Image.fromarray(image)
    expected = np.asarray(pixels.resize((32, 24), PIL.Image.Resampling.BILINEAR))
    assert (np.rint(255 * resize_image(image, (24, 32), "pillow")) == expected).all()
    rows, cols = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in ((24, 90), (32, 70)))
    assert (resize_mask(mask, (24, 32), "pillow") == mask[np.ix_(rows, cols)]).all()


def test_images_are_rgb(tmp_path):
    blue_green_red = np.zeros((4, 4, 3), np.uint8)
    blue_green_red[..., 2] = 200
    assert read_image(write(tmp_path / "red.png", blue_green_red))[0, 0].tolist() == [200, 0, 0]


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_images_have_three_channels(tmp_path, channels):
    path = write(tmp_path / "image.png", np.full((4, 4, channels), 90, np.uint8))
    assert (read_image(path) == np.full((4, 4, 3), 90)).all()


COLOURS = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)


KINDS = {  # name of the file: what PIL writes, and by which options
    "colour.png": ("RGB", {}),
    "colour.tif": ("RGB", {"compression": "tiff_lzw"}),
    "colour.webp": ("RGB", {"lossless": True}),
    "grey.png": ("L", {}),
    "grey.tiff": ("L", {}),
    "palette.png": ("P", {}),
    "palette_with_a_clear_colour.png": ("P", {"transparency": 3}),
    "palette.bmp": ("P", {}),
    "alpha.png": ("RGBA", {}),
    "alpha.webp": ("RGBA", {"lossless": True}),
    "opaque.tif": ("RGBA", {}),
    "grey_alpha.png": ("LA", {}),
    "one_bit.png": ("1", {}),
    "one_bit.bmp": ("1", {}),
    "ink.jpg": ("CMYK", {}),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_8_bit_image_is_read_as_pillow_reads_it(tmp_path, name):
    mode, options = KINDS[name]
    image = PillowImage.fromarray(COLOURS).convert(mode)
    if "alpha" in name:
        image.putalpha(PillowImage.fromarray(COLOURS[..., 0]))
    image.save(tmp_path / name, **options)
    expected = np.asarray(PillowImage.open(tmp_path / name).convert("RGB")).astype(int)
    found = read_image(tmp_path / name)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= (mode == "CMYK")  # two roundings of one product


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 4)], ids=["grey", "colour", "alpha"])
def test_a_16_bit_image_is_refused_as_nothing_tells_which_of_its_bits_count(tmp_path, suffix, shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    pixels.flat[0] = 247
    path = write(tmp_path / f"deep.{suffix}", pixels)
    with pytest.raises(Failure, match=r"deep\..*: 16-bit image whose largest value is 247; wanted 8 bits .*; convert"):
        read_image(path)


def test_an_image_of_32_bit_numbers_is_refused_too(tmp_path):
    path = write(tmp_path / "deep.tif", np.full((4, 5), 0.5, np.float32))
    with pytest.raises(Failure, match=r"32-bit image whose largest value is 0\.5"):
        read_image(path)


def test_a_tiff_with_transparent_pixels_is_refused_as_it_would_be_darkened(tmp_path):
    image = PillowImage.fromarray(COLOURS)
    image.putalpha(PillowImage.fromarray(COLOURS[..., 0]))
    image.save(tmp_path / "glass.tif")
    with pytest.raises(Failure, match=r"glass\.tif: TIFF with transparent pixels"):
        read_image(tmp_path / "glass.tif")


def test_an_image_beyond_opencv_s_limits_is_one_line(tmp_path):
    path = write(tmp_path / "wide.png", np.zeros((4, 4, 3), np.uint8))
    stored = bytearray(path.read_bytes())
    stored[16:24] = (2**19).to_bytes(4, "big") + (2**12).to_bytes(4, "big")  # width and height
    stored[29:33] = zlib.crc32(stored[12:29]).to_bytes(4, "big")
    path.write_bytes(stored)
    with pytest.raises(Failure, match=r"wide\.png: not an image"):
        read_image(path)


def test_a_side_that_shrinks_is_averaged_though_the_other_one_grows():
    stripes = np.zeros((24, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    resized = resize_image(stripes, (32, 16), "areas")  # four columns make one, three rows make four
    np.testing.assert_allclose(resized, np.full((32, 16, 3), 100 / 255), atol=1e-6)
    turned = resize_image(stripes.transpose(1, 0, 2), (16, 32), "areas")
    np.testing.assert_allclose(turned, resized.transpose(1, 0, 2), atol=1e-6)


def test_stored_pixels_are_read_whatever_the_exif_orientation(tmp_path):
    path = write(tmp_path / "turned.jpg", np.zeros((8, 24, 3), np.uint8))
    stored = path.read_bytes()
    # An APP1 segment whose only entry (tag 0x0112, one SHORT) asks for a quarter turn (6).
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(stored[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + stored[2:])
    assert cv2.imread(str(path)).shape == (24, 8, 3)
    assert read_image(path).shape == (8, 24, 3)


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


@given(st.integers(1, 20), st.integers(1, 20), st.integers(40, 4000), st.integers(40, 4000))
def test_fitted_sides_are_multiples_near_the_area_and_the_aspect(rows, cols, height, width):
    area = (32 * rows, 32 * cols)
    fit = fitted(area, (height, width), 32)
    assert all(side % 32 == 0 for side in fit)
    exact = (area[0] * area[1] * height / width) ** 0.5, (area[0] * area[1] * width / height) ** 0.5
    assert all(abs(side - wanted) <= 16 or side == 32 for side, wanted in zip(fit, exact, strict=True))


def test_fitted_sides_of_a_square_are_its_own():
    assert fitted((256, 256), (512, 512), 32) == (256, 256)
    assert fitted((256, 256), (1260, 500), 32) == (416, 160)


def test_shrinking_averages_pixels_and_keeps_sides_multiples():
    images = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    small = shrink_by(0.5, 32)(images)
    assert small.shape == (2, 3, 32, 64)
    torch.testing.assert_close(small[..., 0, 0], images[..., :2, :2].mean(dim=(-2, -1)))
    assert shrink_by(0.1, 32)(images).shape[-2:] == (32, 32)
