import copy
import gc
import weakref

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.backends import cudnn

from configs.errors import BadRequest
from model.images import read_image, shrink_by
from model.inference.engine import Speed, View, open_device, open_engine, stretch, to_batch, torch_compare
from model.metauas.network import MetaUAS
from model.onenip import OneNIP
from tests.model.checkpoints import save_checkpoint


@pytest.fixture
def network():
    torch.manual_seed(0)
    return MetaUAS("test_resnet", decoder_channels=(8, 8, 8, 8), similarity="cosine").eval()


@pytest.fixture
def encoded(network, monkeypatch):
    """Of each batch that the network encodes, its levels, as long as somebody holds them."""
    seen, encode = [], network.encode

    def spy(batch):
        levels = encode(batch)
        seen.append((len(batch), list(map(weakref.ref, levels))))
        return levels

    monkeypatch.setattr(network, "encode", spy)
    return seen


def images(count):
    return torch.rand(count, 3, 32, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("together", ["maps", "features", "best"])
def test_prompts_are_taken_and_encoded_a_few_at_a_time_and_only_their_aligned_levels_stay(network, encoded, together):
    taken = []

    def prompts():
        for image in images(7):
            taken.append(len(encoded))
            yield image

    compare = torch_compare(network, prompts(), together, Speed(), batch_size=3)

    gc.collect()
    assert [size for size, _ in encoded][-3:] == [3, 3, 1]  # before them, the run that shows what can be folded
    assert [before - taken[0] for before in taken] == [0, 0, 0, 1, 1, 1, 2]
    assert not any(level() is not None for _, levels in encoded for level in levels[: network.unaligned])
    assert compare(images(2)).shape == (2, 1, 32, 64)


def test_prompts_encoded_together_give_the_maps_of_prompts_encoded_alone(network):
    alone, together = (torch_compare(network, images(5), "maps", Speed(), size)(images(2)) for size in (1, 5))
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


def test_no_stack_of_all_prompts_is_made(network, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "best.ckpt", network, size=(32, 64))
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for path in paths:
        cv2.imwrite(str(path), np.zeros((32, 64, 3), np.uint8))
    stacked, stack = [], torch.stack
    monkeypatch.setattr("torch.stack", lambda tensors, *more: stacked.append(len(tensors)) or stack(tensors, *more))
    open_engine(tmp_path / "best.ckpt", paths, View(), "maps", Speed(), 2)
    assert max(stacked) == 2


def test_several_scales_are_the_mean_of_the_maps_of_each(network):
    prompts, queries = images(2), torch.rand(2, 3, 64, 64)
    prompts = torch.nn.functional.interpolate(prompts, (64, 64))
    both = torch_compare(copy.deepcopy(network), prompts, "maps", Speed(), 2, scales=(1.0, 0.5))(queries)
    shrink = shrink_by(0.5, 32)
    large = torch_compare(copy.deepcopy(network), prompts, "maps", Speed(), 2)(queries)
    small = torch_compare(network, shrink(prompts), "maps", Speed(), 2)(shrink(queries))
    small = torch.nn.functional.interpolate(small, (64, 64), mode="bilinear")
    torch.testing.assert_close(both, (large + small) / 2, atol=1e-4, rtol=0)


def test_the_aspect_kept_is_that_of_the_first_prompt(network, tmp_path):
    save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 64))
    cv2.imwrite(str(tmp_path / "tall.png"), np.zeros((200, 50, 3), np.uint8))
    engine = open_engine(tmp_path / "best.ckpt", [tmp_path / "tall.png"], View(keep_aspect=True), "maps", Speed(), 2)
    assert engine.size == (128, 32)
    assert engine.compare(torch.rand(1, 3, *engine.size)).shape == (1, 1, 128, 32)


@pytest.mark.parametrize("scales", [(0.0,), (1.0, 1.5)])
def test_scales_beyond_the_size_are_refused(network, tmp_path, scales):
    save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 64))
    with pytest.raises(BadRequest, match="wanted shares of the size"):
        open_engine(tmp_path / "best.ckpt", [tmp_path / "a.png"], View(scales=scales), "maps", Speed(), 2)


def test_a_device_that_is_not_there_is_a_wrong_request():
    assert open_device("cpu") == torch.device("cpu")
    with pytest.raises(BadRequest, match=r"^--device abacus: "):
        open_device("abacus")


@pytest.mark.parametrize("together", ["maps", "best"])
def test_convolutions_are_whole_float32_for_prompts_and_queries_and_as_before_after(together, monkeypatch):
    found = []
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    encode = MetaUAS.encode
    monkeypatch.setattr(MetaUAS, "encode", lambda self, some: found.append(cudnn.allow_tf32) or encode(self, some))
    network = MetaUAS("test_resnet", decoder_channels=(16, 16, 8, 8)).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    run = torch_compare(network, images, together, Speed(), batch_size=1)
    assert cudnn.allow_tf32
    run(images)
    assert cudnn.allow_tf32
    assert found[-3:] == [False] * 3  # two prompts and the queries; `for_inference` probes before


def onenip_file(tmp_path, normaliser=2.0):
    torch.manual_seed(0)
    network = OneNIP("test_resnet", size=(64, 64), encoder_layers=1, decoder_layers=1).eval()
    network.normaliser.fill_(normaliser)
    save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 64), key="onenip")
    for number in range(2):
        pixels = np.random.default_rng(number).integers(256, size=(90, 80, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    return network, [tmp_path / f"{number}.png" for number in range(2)]


@pytest.mark.parametrize("together", ["maps", "best"])
def test_a_onenip_is_looked_at_as_its_pairs_were_and_scored_as_its_paper_does(tmp_path, together):
    network, prompts = onenip_file(tmp_path)
    engine = open_engine(tmp_path / "best.ckpt", prompts, View(), together, Speed(), 2)
    assert (engine.size, engine.how, engine.score) == ((64, 64), "areas", "pooled")
    normal = [to_batch([read_image(path)], (64, 64), "areas") for path in prompts]
    with torch.inference_mode():
        seen = network.encode(normal[1])
        maps = [network.relative_map(network.compare(network.encode(prompt), seen)) for prompt in normal]
    expected = maps[1] if together == "best" else (maps[0] + maps[1]) / 2  # a prompt is most similar to itself
    torch.testing.assert_close(engine.compare(normal[1]), expected, atol=1e-4, rtol=1e-4)


def test_a_published_onenip_takes_its_scale_from_two_prompts_or_more(tmp_path):
    _, prompts = onenip_file(tmp_path, normaliser=0.0)
    with pytest.raises(BadRequest, match="pass two or more normal images"):
        open_engine(tmp_path / "best.ckpt", prompts[:1], View(), "maps", Speed(), 2)
    found = open_engine(tmp_path / "best.ckpt", prompts, View(), "maps", Speed(), 2).compare(torch.rand(1, 3, 64, 64))
    assert found.isfinite().all()
    assert found.max() > 0


@pytest.mark.parametrize(
    ("view", "together", "said"),
    [
        (View(96), "maps", "a OneNIP is of one size, here 64 x 64 px"),
        (View(keep_aspect=True), "maps", "leave --size, --keep-aspect and --scales out"),
        (View(), "features", "compares with one prompt at a time"),
    ],
)
def test_what_a_onenip_cannot_do_is_one_line(tmp_path, view, together, said):
    _, prompts = onenip_file(tmp_path)
    with pytest.raises(BadRequest, match=said):
        open_engine(tmp_path / "best.ckpt", prompts, view, together, Speed(), 2)


@pytest.mark.parametrize("how", ["corners", "areas"])
def test_maps_lie_on_their_images_however_these_were_stretched(how):
    """A ramp over pixel centres stays one: of 4 pixels made of 8 by areas, and of corners laid on corners."""
    ramp = torch.linspace(0, 1, 8).view(1, 1, 1, 8)
    small = (
        F.avg_pool2d(ramp, (1, 2))
        if how == "areas"
        else F.interpolate(ramp, (1, 4), mode="bilinear", align_corners=True)
    )
    back = stretch(small, (1, 8), how)[0, 0, 0]
    torch.testing.assert_close(back[1:-1], ramp[0, 0, 0, 1:-1], atol=1e-5, rtol=0)
