"""LaMa through simple-lama-inpainting, with a stand-in TorchScript file of the real one's signature."""

import numpy as np
import pytest
import torch

from configs.errors import BadRequest
from pipeline.fillers import LAMA_BATCH, lama_weights, make_filler
from tests.pipeline import tiny


class StandIn(torch.nn.Module):
    """Paints the hole with the mean colour of what is around it: image (B, 3, H, W) and mask (B, 1, H, W) in."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        around = (image * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True)
        return image * (1 - mask) + around * mask


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("lama") / "big-lama.pt"
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.script(StandIn()).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_lama_fills_every_image_of_a_run_longer_than_its_batch(weights):
    rng = np.random.default_rng(0)
    images = [rng.integers(256, size=(32, 64, 3), dtype=np.uint8) for _ in range(LAMA_BATCH + 3)]
    holes = [rng.random((32, 64)) < 0.2 for _ in images]

    filled = make_filler(tiny.params(inpaint__filler="lama", inpaint__lama_weights=str(weights)).inpaint)(images, holes)

    assert len(filled) == len(images)
    for image, hole, fill in zip(images, holes, filled, strict=True):
        assert (fill[~hole] == image[~hole]).all()
        assert np.abs(fill[hole] - image[~hole].mean(axis=0)).max() <= 1


def test_lama_without_weights_says_what_to_download_and_where_to_name_it():
    config = tiny.params(inpaint__filler="lama").inpaint

    with pytest.raises(BadRequest, match=r"LAMA_MODEL is not set; download https://github\.com/.*big-lama\.pt"):
        make_filler(config)


def test_lama_weights_that_are_not_there_are_named():
    config = tiny.params(inpaint__filler="lama", inpaint__lama_weights="/nowhere/big-lama.pt").inpaint

    with pytest.raises(BadRequest, match=r"/nowhere/big-lama\.pt is no file"):
        lama_weights(config)


def test_the_environment_variable_of_the_package_is_honoured(weights, monkeypatch):
    monkeypatch.setenv("LAMA_MODEL", str(weights))

    assert lama_weights(tiny.params(inpaint__filler="lama").inpaint) == weights
