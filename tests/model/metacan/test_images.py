import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model.metacan.images import fit_square

SIDES = st.integers(5, 40)


@settings(max_examples=40)
@given(height=SIDES, width=SIDES, side=st.integers(4, 24))
def test_any_image_becomes_a_square_in_range(height, width, side):
    images = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    fitted = fit_square(images, side)
    assert fitted.shape == (2, 3, side, side)
    assert fitted.min() >= 0
    assert fitted.max() <= 1


@given(extra=st.integers(0, 9), tall=st.booleans())
def test_what_has_the_size_already_is_cut_but_not_touched(extra, tall):
    height, width = (16 + extra, 16) if tall else (16, 16 + extra)
    images = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    at = round(extra / 2)
    cut = images[:, :, at:, :][:, :, :16] if tall else images[:, :, :, at:][..., :16]
    assert torch.equal(fit_square(images, 16), cut)


@pytest.mark.parametrize("size", [(100, 133), (61, 40), (24, 24), (20, 31)])
def test_it_does_what_pil_does_but_for_rounding_to_8_bits(size):
    noise = np.random.default_rng([0]).integers(0, 256, (*size, 3), np.uint8)
    image = cv2.GaussianBlur(noise, (5, 5), 1)
    height, width = size
    shorter = min(size)
    resized = Image.fromarray(image).resize((int(24 * width / shorter), int(24 * height / shorter)), Image.BICUBIC)
    top, left = (round((length - 24) / 2) for length in (resized.height, resized.width))
    wanted = np.asarray(resized)[top : top + 24, left : left + 24]
    fitted = fit_square(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255, 24)
    assert np.abs(255 * fitted[0].permute(1, 2, 0).numpy() - wanted).max() < 1.1
