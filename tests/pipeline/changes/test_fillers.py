"""LaMa through simple-lama-inpainting, with a stand-in TorchScript file of the real one's signature."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from configs.errors import BadRequest, Failure
from pipeline.changes.fillers import Weights, find_weights, make_filler
from pipeline.shards.opened import open_shard
from tests.pipeline import tiny
from tests.pipeline.conftest import make_source

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


class StandIn(torch.nn.Module):
    """Paints the hole with the mean colour of what is around it: image (B, 3, H, W) and mask (B, 1, H, W) in."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] % 8 == 0, "LaMa fails on other sides"
        assert image.shape[3] % 8 == 0, "LaMa fails on other sides"
        around = (image * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True).clamp(min=1)
        return image * (1 - mask) * 0.5 + around * mask  # spoils what is outside: a network does not keep it exactly


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("lama") / "big-lama.pt"
    torch.jit.script(StandIn()).save(str(path))
    return path


@pytest.fixture(autouse=True)
def _threads():
    """A process that loads LaMa computes with one thread; the other tests of this process need not."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def lama(weights, batch=8):
    config = tiny.params(inpaint__filler="lama", inpaint__lama_weights=str(weights), inpaint__lama_batch=batch).inpaint
    return make_filler(config, find_weights(config))


def noise(count, height, width):
    rng = np.random.default_rng([count, height, width])
    images = [rng.integers(256, size=(height, width, 3), dtype=np.uint8) for _ in range(count)]
    return images, [rng.random((height, width)) < 0.2 for _ in images]


def test_lama_fills_every_image_of_a_run_longer_than_its_batch(weights):
    images, holes = noise(11, 32, 64)

    filled = lama(weights, batch=4)(images, holes)

    assert len(filled) == len(images)
    for image, hole, fill in zip(images, holes, filled, strict=True):
        assert (fill[~hole] == image[~hole]).all()
        assert np.abs(fill[hole] - image[~hole].mean(axis=0)).max() <= 1


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), max_size=7), st.integers(1, 4))
def test_lama_gives_the_same_in_batches_of_mixed_sizes_as_one_by_one(weights, sizes, batch):
    found = [noise(1, *size) for size in sizes]
    images, holes = [images[0] for images, _ in found], [holes[0] for _, holes in found]

    together = lama(weights, batch)(images, holes)

    for image, hole, fill in zip(images, holes, together, strict=True):
        (alone,) = lama(weights, 1)([image], [hole])
        assert fill.shape == image.shape
        assert (fill == alone).all()


@pytest.mark.parametrize("filler", ["opencv_telea", "opencv_ns", "lama"])
@given(hole=hnp.arrays(np.bool_, (12, 17)))
def test_every_filler_leaves_what_is_outside_the_mask_to_the_bit(weights, filler, hole):
    (image,), _ = noise(1, 12, 17)
    config = tiny.params(inpaint__filler=filler, inpaint__lama_weights=str(weights)).inpaint

    (filled,) = make_filler(config, find_weights(config))([image], [hole])

    assert (filled[~hole] == image[~hole]).all()


@pytest.mark.parametrize("filler", ["opencv_telea", "opencv_ns"])
def test_opencv_fillers_fill_from_around_the_hole(filler):
    image = np.full((32, 32, 3), 90, np.uint8)
    image[12:20, 12:20] = 250
    hole = np.zeros((32, 32), bool)
    hole[11:21, 11:21] = True

    (filled,) = make_filler(tiny.params(inpaint__filler=filler).inpaint, None)([image], [hole])

    assert np.abs(filled.astype(int) - 90).max() <= 3


@pytest.mark.parametrize("fill_at", ["pair", "native"])
def test_shards_made_by_lama_do_not_depend_on_their_size(weights, tmp_path, fill_at):
    made = []
    for per_shard in (5, 24):
        source = make_source(
            tmp_path / str(per_shard),
            inpaint__filler="lama",
            inpaint__lama_weights=str(weights),
            inpaint__fill_at=fill_at,
            inpaint__pairs_per_shard=per_shard,
        )
        manifest = source.make_inpainted()
        shards = [open_shard(source.inpainted, entry.name) for entry in manifest.shards]
        made.append([np.concatenate([np.asarray(shard.pair[:]) for shard in shards]), manifest.kinds])

    assert (made[0][0] == made[1][0]).all()
    assert made[0][1] == made[1][1]
    assert made[0][1]["inpaint"] > 10


def test_lama_without_weights_says_what_to_download_and_where_to_name_it():
    config = tiny.params(inpaint__filler="lama").inpaint

    with pytest.raises(BadRequest, match=r"LAMA_MODEL is not set; download https://github\.com/.*big-lama\.pt"):
        find_weights(config)


def test_lama_weights_that_are_not_there_are_named():
    config = tiny.params(inpaint__filler="lama", inpaint__lama_weights="/nowhere/big-lama.pt").inpaint

    with pytest.raises(BadRequest, match=r"/nowhere/big-lama\.pt is no file"):
        find_weights(config)


def test_the_environment_variable_of_the_package_is_honoured(weights, monkeypatch):
    monkeypatch.setenv("LAMA_MODEL", str(weights))

    found = find_weights(tiny.params(inpaint__filler="lama").inpaint)

    assert found == Weights(weights, hashlib.sha256(weights.read_bytes()).hexdigest())


def test_a_worker_that_finds_other_weights_at_the_path_says_so(tmp_path):
    other = tmp_path / "big-lama.pt"
    other.write_bytes(b"other weights")

    with pytest.raises(Failure, match=r"big-lama\.pt: not the file of sha256 0123456789abcdef.* on every machine"):
        make_filler(tiny.params(inpaint__filler="lama").inpaint, Weights(other, "0123456789abcdef" * 4))
