import torch

from model.metauas.decoder import SCSE, UNetDecoder

FEATURES = (48, 32, 2 * 56, 2 * 160, 2 * 448)
PUBLISHED = (256, 128, 64, 64, 48)


def maps(channels, side=64, batch=2):
    return [torch.rand(batch, c, side // 2**i, side // 2**i) for i, c in enumerate(channels, start=1)]


def test_the_published_decoder_has_the_published_size_block_by_block():
    decoder = UNetDecoder(FEATURES, PUBLISHED)
    sizes = [sum(p.numel() for p in block.parameters()) for block in decoder.blocks]
    assert sizes == [3_588_574, 591_905, 133_456, 104_077, 48_576]


def test_keys_and_shapes_are_the_published_ones(shared):
    lines = (shared / "reference" / "metauas_state_dict.txt").read_text().splitlines()
    published = dict(line.removeprefix("decoder.").split(" ", 1) for line in lines if line.startswith("decoder."))
    ours = {key: str(tuple(value.shape)) for key, value in UNetDecoder(FEATURES, PUBLISHED).state_dict().items()}
    assert ours == published


def test_five_blocks_reach_the_full_resolution_and_four_half_of_it():
    features = (4, 8, 8, 16, 16)
    assert UNetDecoder(features, (16, 16, 16, 16, 8))(maps(features)).shape == (2, 8, 64, 64)
    assert UNetDecoder(features, (16, 16, 16, 8))(maps(features)).shape == (2, 8, 32, 32)


def test_scse_is_the_sum_of_both_gates():
    torch.manual_seed(0)
    gate = SCSE(32)
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(gate(x), x * gate.cSE(x) + x * gate.sSE(x))
