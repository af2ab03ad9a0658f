import pytest
import torch

from model.metauas.fpn import FPNDecoder

FEATURES = (4, 8, 8, 16, 16)


def maps(batch=2, height=64, width=96):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(batch, c, height >> i, width >> i, generator=generator) for i, c in enumerate(FEATURES, start=1)]


@pytest.mark.parametrize(("merge", "width"), [("add", 12), ("cat", 48)])
def test_all_levels_meet_at_stride_4(merge, width):
    decoder = FPNDecoder(FEATURES, (16, 12), merge)
    assert decoder.width == width
    assert decoder(maps()).shape == (2, width, 16, 24)


@pytest.mark.parametrize("merge", ["add", "cat"])
def test_every_level_but_the_first_is_looked_at(merge):
    torch.manual_seed(0)
    decoder = FPNDecoder(FEATURES, (16, 12), merge).eval()
    features = [level.requires_grad_() for level in maps()]
    decoder(features).square().sum().backward()
    assert features[0].grad is None
    assert all(level.grad.abs().sum() > 0 for level in features[1:])


def test_what_is_added_is_what_is_concatenated():
    torch.manual_seed(0)
    add, cat = FPNDecoder(FEATURES, (16, 12), "add").eval(), FPNDecoder(FEATURES, (16, 12), "cat").eval()
    cat.load_state_dict(add.state_dict())
    torch.testing.assert_close(add(maps()), sum(cat(maps()).chunk(4, dim=1)))
