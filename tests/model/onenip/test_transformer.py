import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.onenip.transformer import (
    WIDTH,
    BidirectionalDecoder,
    BidirectionalLayer,
    EncoderLayer,
    LayerwiseLayer,
    Positions,
    attend,
    neighbour_mask,
)

sides = st.integers(2, 20)


def tokens(count, *, seed=0, batch=2):
    return torch.randn(batch, count, WIDTH, generator=torch.Generator().manual_seed(seed))


@given(sides, sides, st.data())
def test_the_mask_hides_exactly_the_square_around_a_token(rows, columns, data):
    mask = neighbour_mask(rows, columns).view(rows, columns, rows, columns)
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    hidden = np.zeros((rows, columns), bool)
    up, left = row - rows // 4, column - columns // 4
    hidden[max(up, 0) : row + rows // 4 + 1, max(left, 0) : column + columns // 4 + 1] = True
    np.testing.assert_array_equal(mask[row, column].numpy(), np.where(hidden, -np.inf, 0))


@pytest.mark.parametrize(("side", "window"), [(14, 7), (16, 9), (20, 11)])
def test_the_mask_is_as_wide_as_released(side, window):
    centre = neighbour_mask(side, side).view(side, side, side, side)[side // 2, side // 2]
    assert (centre == -torch.inf).sum() == window**2


@given(sides, sides)
def test_every_token_has_others_left_to_look_at(rows, columns):
    assert (neighbour_mask(rows, columns) == 0).any(dim=1).all()


def test_a_masked_token_looks_past_its_neighbours():
    attention = nn.MultiheadAttention(WIDTH, 8, batch_first=True).eval()
    mask, x = neighbour_mask(4, 4), tokens(16)
    changed = torch.where(mask[5, :, None] == 0, x, x + 1)
    queries = tokens(16, seed=1)
    before, after = (attend(attention, queries, some, some, mask) for some in (x, changed))
    torch.testing.assert_close(before[:, 5], after[:, 5])
    assert not torch.allclose(before[:, 15], after[:, 15])


def test_a_position_is_its_column_s_half_and_its_row_s():
    positions = Positions(2, 3)
    found = positions().view(2, 3, WIDTH)
    assert torch.equal(found[1, 2], torch.cat([positions.col_embed.weight[2], positions.row_embed.weight[1]]))
    assert found.min() >= 0
    assert found.max() <= 1


def layer_of(version):
    torch.manual_seed(0)
    return BidirectionalLayer(version).eval()


def test_the_two_decoders_differ_only_in_what_the_query_takes_from_the_prompt():
    old, new = layer_of("v1"), layer_of("v2")
    assert old.state_dict().keys() == new.state_dict().keys()
    case = (tokens(16), tokens(16, seed=1), tokens(16, seed=2)[0], neighbour_mask(4, 4))
    (prompt_old, query_old), (prompt_new, query_new) = old(*case), new(*case)
    assert torch.equal(prompt_old, prompt_new)
    assert not torch.allclose(query_old, query_new, atol=1e-3)


@pytest.mark.parametrize(("version", "counts"), [("v1", False), ("v2", True)])
def test_the_second_attention_of_the_first_decoder_is_for_nothing(version, counts):
    layer = layer_of(version)
    case = (tokens(16), tokens(16, seed=1), tokens(16, seed=2)[0], neighbour_mask(4, 4))
    before = layer(*case)[1]
    nn.init.zeros_(layer.cross_attn_image_to_prompt.out_proj.weight)
    assert torch.equal(before, layer(*case)[1]) != counts


def test_only_the_last_attention_sees_a_token_s_own_place():
    torch.manual_seed(0)
    layer, last = BidirectionalLayer("v2").eval(), BidirectionalDecoder(0, "v2").eval()
    prompt, position, mask = tokens(16), torch.zeros(16, WIDTH), neighbour_mask(4, 4)
    query = tokens(16, seed=1)
    changed = torch.where(mask[5, :, None] == 0, query, query + tokens(16, seed=2))
    before, after = (layer(prompt, some, position, mask)[0][:, 5] for some in (query, changed))
    torch.testing.assert_close(before, after)
    before, after = (last(some, prompt, position, mask)[:, 5] for some in (query, changed))
    assert not torch.allclose(before, after, atol=1e-3)


def test_a_static_prompt_stands_where_the_learned_queries_do():
    torch.manual_seed(0)
    learned = LayerwiseLayer(tokens=16).eval()
    static = LayerwiseLayer(tokens=None).eval()
    static.load_state_dict({key: value for key, value in learned.state_dict().items() if "learned" not in key})
    x, position, mask = tokens(16), tokens(16, seed=2)[0], neighbour_mask(4, 4)
    prompt = learned.learned_embed.weight.expand(2, -1, -1)
    assert torch.equal(learned(x, x, None, position, mask), static(x, x, prompt, position, mask))


def test_position_is_never_part_of_what_is_taken():
    layer = EncoderLayer().eval()
    x, mask = tokens(16), neighbour_mask(4, 4)
    nn.init.zeros_(layer.self_attn.in_proj_weight[: 2 * WIDTH])  # queries and keys: then all are looked at alike
    torch.testing.assert_close(layer(x, tokens(16, seed=1)[0], mask), layer(x, torch.zeros(16, WIDTH), mask))
