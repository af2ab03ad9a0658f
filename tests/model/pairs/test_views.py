from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from kornia.enhance import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation
from torch.utils._python_dispatch import TorchDispatchMode

from configs.section import Range
from configs.train import Augment, Jitter
from model.pairs.views import Draws, draw, label, prepare, recolour, see, views, warp
from model.training.feed import to_device
from pipeline.shards.format import ALIGNED, ELSEWHERE, THE_ORIGINAL

STRONG = Augment(
    rotate_deg=30.0,
    translate_share=0.2,
    scale=Range(low=0.8, high=1.5),
    jitter="published",
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    hue=0.1,
)
JITTERS = get_args(Jitter)
META = torch.device("meta")
STILL = np.array([[1.0, 0, 0], [0, 1.0, 0]])
NEUTRAL = np.array([1.0, 1, 1, 0])
ORIGINALS = [THE_ORIGINAL] * 400


def batch(count=3, height=32, width=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count * 2, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    mask = torch.zeros(count, height, width, dtype=torch.uint8)
    mask[:, 8:20, 20:40] = 1
    pair = (images * 255).byte().unflatten(0, (count, 2)).permute(0, 1, 3, 4, 2).contiguous()
    return {"pair": pair, "mask": mask, "index": torch.arange(count) + 40, "prompt_is": torch.zeros(count).long()}


def draws(to_prompt=STILL, to_query=STILL, swap=False, unchanged=False, elsewhere=False):
    return Draws(
        np.array([swap]),
        np.array([unchanged]),
        np.array([[to_prompt, to_query]]),
        np.array([[NEUTRAL, NEUTRAL]]),
        np.array([elsewhere]),
        "published",
    )


def shift(x_px, y_px=0.0):
    return np.array([[1.0, 0, x_px], [0, 1.0, y_px]])


def one():
    stored = batch(1)
    return stored["pair"], stored["mask"]


def floats(pair):
    return pair.permute(0, 1, 4, 2, 3) / 255


def test_without_augmentation_a_pair_is_as_stored():
    stored = batch()
    prepared = prepare(stored, None, seed=0, epoch=1)
    assert torch.equal(prepared.prompt, stored["pair"][:, 0].permute(0, 3, 1, 2) / 255)
    assert torch.equal(prepared.query, stored["pair"][:, 1].permute(0, 3, 1, 2) / 255)
    assert torch.equal(prepared.mask[:, 0], stored["mask"].bool())
    assert prepared.valid.all()


def test_identity_parameters_change_nothing():
    pair, mask = one()
    prepared = views(pair, mask, draws())
    torch.testing.assert_close(prepared.prompt, floats(pair)[:, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(prepared.query, floats(pair)[:, 1], atol=1e-5, rtol=0)
    assert torch.equal(prepared.mask[:, 0], mask.bool())
    assert prepared.valid.all()


def test_a_strength_of_zero_is_the_identity():
    zero = Augment(
        rotate_deg=0.0,
        translate_share=0.0,
        scale=Range(low=1.0, high=1.0),
        jitter="published",
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
    )
    drawn = draw(zero, 0, 1, [0, 1], ORIGINALS[:2], 32, 64)
    np.testing.assert_array_equal(drawn.warp, np.broadcast_to(STILL, (2, 2, 2, 3)))
    np.testing.assert_array_equal(drawn.colour, np.broadcast_to(NEUTRAL, (2, 2, 4)))


def test_a_swap_exchanges_the_sides_and_keeps_the_mask():
    pair, mask = one()
    plain, swapped = views(pair, mask, draws()), views(pair, mask, draws(swap=True))
    assert torch.equal(plain.prompt, swapped.query)
    assert torch.equal(plain.query, swapped.prompt)
    assert torch.equal(plain.mask, swapped.mask)


@pytest.mark.parametrize("seed", range(4))
def test_a_warped_mask_is_the_warp_of_the_mask_image(seed):
    mask = batch()["mask"]
    pair = (255 * mask)[:, None, ..., None].expand(-1, 2, -1, -1, 3)
    drawn = draw(STRONG, seed, 1, [0, 1, 2], ORIGINALS[:3], 32, 64)
    prepared = views(pair, mask, replace(drawn, colour=np.broadcast_to(NEUTRAL, drawn.colour.shape)))
    # Bilinear and nearest sampling may differ where the picture of the mask is neither black nor white.
    flat = (prepared.query[:, :1] - 0.5).abs() > 0.499
    seen = prepared.valid & flat
    assert seen.any()
    assert torch.equal(prepared.mask[seen], (prepared.query[:, :1] > 0.5)[seen])


def test_warping_moves_pixels_by_the_matrix_in_pixels():
    images = torch.zeros(1, 1, 32, 64)
    images[0, 0, 10, 20] = 1
    moved = warp(images, shift(5, -3)[None])
    assert moved[0, 0, 7, 25] == pytest.approx(1, abs=1e-4)


def test_a_quarter_turn_of_an_oblong_image_keeps_squares_square():
    images = torch.zeros(1, 1, 32, 64)
    images[0, 0, 12:20, 28:36] = 1  # centred
    turned = warp(images, np.array([[[0.0, -1, 0], [1, 0, 0]]]))
    torch.testing.assert_close(turned[..., 4:28, 20:44], images[..., 4:28, 20:44], atol=1e-4, rtol=0)


def test_what_leaves_the_query_is_not_labelled_nor_are_its_reflections():
    prepared = views(*one(), draws(to_query=shift(-45)))  # the change, columns 20 to 39, ends 5 past the border
    assert not prepared.mask.any()
    assert not prepared.valid[..., -45:].any()  # filled by reflection
    assert prepared.valid[..., :-45].all()


def test_what_leaves_the_prompt_is_not_labelled_and_not_looked_at():
    pair, mask = one()
    prepared = views(pair, mask, draws(to_prompt=shift(-30)))  # the prompt sees stored columns 30 to 63
    mask = mask.bool().unsqueeze(1)
    changed_unseen = mask & (torch.arange(64) < 30)
    assert torch.equal(prepared.mask, mask & (torch.arange(64) >= 30))
    assert torch.equal(prepared.valid, ~changed_unseen)


def test_a_prompt_of_another_place_need_not_cover_the_change():
    pair, mask = one()
    prepared = views(pair, mask, draws(to_prompt=shift(-30), elsewhere=True))
    assert torch.equal(prepared.mask, mask.bool().unsqueeze(1))
    assert prepared.valid.all()


@pytest.mark.parametrize("jitter", JITTERS)
@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_batch_in_parts_is_seen_to_the_bit_as_whole(jitter, most):
    stored = batch(5)
    drawn = draw(
        STRONG.model_copy(update={"jitter": jitter}), 3, 2, stored["index"].tolist(), ORIGINALS[:5], 32, 64, 0.2
    )
    whole = views(stored["pair"], stored["mask"], drawn)
    parts = [
        (*see(stored["pair"][rows], drawn.of(rows)), *label(stored["mask"][rows], drawn.of(rows)))
        for rows in (slice(first, first + most) for first in range(0, 5, most))
    ]
    for values, name in zip(zip(*parts, strict=True), ("prompt", "query", "mask", "valid"), strict=True):
        assert torch.equal(torch.cat(values), getattr(whole, name)), name


class Waits(TorchDispatchMode):
    """Notes what would make the CPU wait for the device `meta`, which like a GPU has no number to give at once."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = str(function)
        sent = kwargs.get("device") == META and "_to_copy" in name and not kwargs.get("non_blocking")
        asked = any(word in name for word in ("linalg_inv", "linalg_solve", "_local_scalar_dense", "nonzero"))
        if sent or (asked and any(isinstance(each, torch.Tensor) and each.device == META for each in args)):
            self.found.append(name)
        return function(*args, **kwargs)


@pytest.mark.parametrize("jitter", JITTERS)
def test_views_are_made_without_waiting_for_the_device(jitter):
    with Waits() as waits:
        prepared = prepare(to_device(batch(), META), STRONG.model_copy(update={"jitter": jitter}), 0, 1, 0.2)
    assert prepared.query.device == prepared.valid.device == META
    assert not waits.found


def test_views_of_a_pair_do_not_depend_on_its_neighbours():
    stored = batch()
    alone = {name: values[1:2] for name, values in stored.items()}
    together, apart = prepare(stored, STRONG, seed=3, epoch=2), prepare(alone, STRONG, seed=3, epoch=2)
    torch.testing.assert_close(together.query[1:2], apart.query)
    assert torch.equal(together.mask[1:2], apart.mask)


def test_draws_repeat_by_seed_and_differ_by_epoch_and_side():
    first, again, later = (draw(STRONG, 0, epoch, [5], ORIGINALS[:1], 32, 32) for epoch in (1, 1, 2))
    np.testing.assert_array_equal(first.warp, again.warp)
    assert not np.array_equal(first.warp, later.warp)
    assert not np.array_equal(first.warp[:, 0], first.warp[:, 1])


def test_about_half_of_the_pairs_are_swapped():
    assert 0.4 < draw(STRONG, 0, 1, list(range(400)), ORIGINALS, 32, 32).swap.mean() < 0.6


def test_only_the_original_changes_places_with_the_changed_image():
    prompts = [THE_ORIGINAL, ALIGNED, ELSEWHERE] * 100
    drawn = draw(STRONG, 0, 1, list(range(300)), prompts, 32, 32)
    swap, all_originals = drawn.swap.reshape(-1, 3), draw(STRONG, 0, 1, list(range(300)), ORIGINALS[:300], 32, 32)
    assert 0.3 < swap[:, 0].mean() < 0.7
    assert not swap[:, 1:].any()
    assert drawn.elsewhere.reshape(-1, 3).sum(axis=0).tolist() == [0, 0, 100]
    np.testing.assert_array_equal(drawn.warp, all_originals.warp)


@pytest.mark.parametrize("swap", [False, True])
def test_an_unchanged_pair_is_two_views_of_the_original_without_a_label(swap):
    pair, mask = one()
    prepared = views(pair, mask, draws(swap=swap, unchanged=True))
    torch.testing.assert_close(prepared.prompt, floats(pair)[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(prepared.query, floats(pair)[:, 0], atol=1e-4, rtol=0)
    assert not prepared.mask.any()
    assert prepared.valid.all()


def test_the_share_of_unchanged_pairs_leaves_the_views_as_they_are():
    indices = list(range(400))
    without, some = (draw(STRONG, 0, 1, indices, ORIGINALS, 32, 32, share) for share in (0.0, 0.25))
    assert not without.unchanged.any()
    assert 0.18 < some.unchanged.mean() < 0.32
    assert draw(STRONG, 0, 1, indices, ORIGINALS, 32, 32, 1.0).unchanged.all()
    for name in ("swap", "warp", "colour"):
        np.testing.assert_array_equal(getattr(without, name), getattr(some, name))


@pytest.mark.parametrize("jitter", JITTERS)
def test_colour_stays_in_range_and_keeps_grey_grey(jitter):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, 1, 8, 8, generator=generator).expand(4, 3, 8, 8)
    out = recolour(images, draw(STRONG, 0, 1, [0, 1], ORIGINALS[:2], 8, 8).colour.reshape(-1, 4), jitter)
    assert out.min() >= 0
    assert out.max() <= 1
    torch.testing.assert_close(out[:, 0], out[:, 2], atol=1e-5, rtol=0)


@pytest.mark.parametrize("jitter", JITTERS)
def test_a_third_of_a_turn_of_hue_makes_red_green(jitter):
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    green = recolour(red, np.array([[1.0, 1, 1, 1 / 3]]), jitter)
    torch.testing.assert_close(green.flatten(), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("jitter", "brightness", "contrast", "expected"),
    [
        ("published", 1.1, 1.0, (0.1, 0.5, 0.9)),  # added
        ("published", 1.0, 1.1, (0.0, 0.44, 0.88)),  # about black
        ("published", 1.1, 1.1, (0.11, 0.55, 0.99)),
        ("mean_grey", 1.1, 1.0, (0.0, 0.44, 0.88)),
        ("mean_grey", 1.0, 0.9, (0.04, 0.4, 0.76)),
    ],
)
def test_brightness_and_contrast_are_what_the_jitter_says(jitter, brightness, contrast, expected):
    images = torch.tensor([0.0, 0.4, 0.8]).expand(1, 3, 1, 3)
    out = recolour(images, np.array([[brightness, contrast, 1, 0]]), jitter)
    torch.testing.assert_close(out[0, 0, 0], torch.tensor(expected), atol=1e-6, rtol=0)


def chain(images, factors):
    """Kornia's four adjustments one after another, as CYWS's jitter."""
    brightness, contrast, saturation, hue = torch.from_numpy(factors).float().T
    images = adjust_contrast(adjust_brightness(images, brightness - 1), contrast)
    return adjust_hue(adjust_saturation(images, saturation), hue * 2 * np.pi)


def jitter_draws(count):
    augment = STRONG.model_copy(update=dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0.1))
    return draw(augment, 0, 1, list(range(count)), ORIGINALS[:count], 8, 8).colour[:, 0]


def test_published_brightness_and_contrast_are_those_of_the_chain():
    generator = torch.Generator().manual_seed(0)
    images = 0.2 + 0.6 * torch.rand(8, 3, 8, 8, generator=generator)  # of which nothing is clamped
    factors = jitter_draws(8) * [1, 1, 0, 0] + [0, 0, 1, 0]
    torch.testing.assert_close(recolour(images, factors, "published"), chain(images, factors), atol=1e-6, rtol=0)


def test_published_jitter_moves_photographs_as_far_as_the_chain_and_mean_grey_about_half_as_far(shared):
    paths = sorted((shared / "data" / "coco400").rglob("*.jpg"))[:100]
    images = torch.stack([torch.from_numpy(cv2.resize(cv2.imread(str(path)), (64, 64))) for path in paths])
    images, factors = images.flip(-1).permute(0, 3, 1, 2) / 255, jitter_draws(len(paths))
    published, mean_grey = (float((recolour(images, factors, jitter) - images).abs().mean()) for jitter in JITTERS)
    chained = float((chain(images, factors) - images).abs().mean())
    assert published == pytest.approx(chained, rel=0.05)
    assert published == pytest.approx(0.06, abs=0.004)
    assert mean_grey == pytest.approx(0.033, abs=0.003)
