import pytest
import torch
from torch import nn

from model.metauas.fpn import FPNDecoder, _to_stride_4
from model.metauas.network import MetaUAS

FEATURES = (4, 8, 8, 16, 16)


def maps(batch=2, height=64, width=96):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(batch, c, height >> i, width >> i, generator=generator) for i, c in enumerate(FEATURES, start=1)]


@pytest.mark.parametrize(("merge", "width"), [("add", 256), ("cat", 1024)])
def test_all_levels_meet_at_stride_4(merge, width):
    decoder = FPNDecoder(FEATURES, merge)
    assert decoder.width == width
    assert decoder(maps()).shape == (2, width, 16, 24)


@pytest.mark.parametrize("merge", ["add", "cat"])
def test_every_level_but_the_first_is_looked_at(merge):
    torch.manual_seed(0)
    decoder = FPNDecoder(FEATURES, merge).eval()
    features = [level.requires_grad_() for level in maps()]
    decoder(features).square().sum().backward()
    assert features[0].grad is None
    assert all(level.grad.abs().sum() > 0 for level in features[1:])


def test_what_is_added_is_what_is_concatenated():
    torch.manual_seed(0)
    add, cat = FPNDecoder(FEATURES, "add").eval(), FPNDecoder(FEATURES, "cat").eval()
    cat.load_state_dict(add.state_dict())
    torch.testing.assert_close(add(maps()), sum(cat(maps()).chunk(4, dim=1)))


def test_a_level_is_enlarged_with_its_corners_on_the_corners():
    level = torch.tensor([[0.0, 1.0], [3.0, 4.0]])[None, None]
    once = _to_stride_4(level, [nn.Identity()], (4, 4))
    torch.testing.assert_close(once[0, 0, 0], torch.linspace(0, 1, 4))
    torch.testing.assert_close(once[0, 0, :, 0], torch.linspace(0, 3, 4))
    assert _to_stride_4(level, [nn.Identity()], (2, 2)) is level


def test_the_published_widths_do_not_depend_on_the_unet_s():
    counts = []
    for channels in ((8, 8, 8, 8), (256, 128, 64, 64, 48)):
        network = MetaUAS("test_resnet", decoder="fpn-add", decoder_channels=channels)
        counts.append(sum(parameter.numel() for parameter in network.parameters()))
    assert counts[0] == counts[1]
    assert [branch.out_channels for branch in network.decoder.modules() if isinstance(branch, nn.Conv2d)] == [256] * 11
