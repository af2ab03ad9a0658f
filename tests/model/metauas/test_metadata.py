"""Checkpoints that were damaged: whatever was taken out or put in, there is one line that names the file."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.metauas.metadata import CHECKPOINT
from model.metauas.network import MetaUAS
from model.weights import describe
from tests.model.checkpoints import save_checkpoint


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    network = MetaUAS("test_resnet", decoder_channels=(8, 8, 8, 8))
    return save_checkpoint(tmp_path_factory.mktemp("models") / "best.ckpt", network, size=(32, 64))


def places_in(value, above=()):
    """The way, key by key, to everything in nested dicts but single tensors."""
    if not isinstance(value, dict) or above == ("state_dict",):
        return []
    return [way for key in value for way in ((*above, key), *places_in(value[key], (*above, key)))]


PLACES = places_in(
    {
        "state_dict": {},
        CHECKPOINT: {
            "version": 1,
            "size": [],
            "network": MetaUAS("test_resnet", decoder_channels=(8, 8, 8, 8)).arguments,
        },
    }
)
OTHER_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.floats(allow_nan=True),
    st.text(max_size=5),
    st.lists(st.integers(-2, 70) | st.text(max_size=2), max_size=4),
    st.dictionaries(st.text(max_size=3) | st.integers(), st.none() | st.integers(0, 3), max_size=2),
    st.just(torch.zeros(2, 2)),
)


def damaged(file, way, change):
    """A file in which `change` was done to what holds the last key of `way`."""
    content = copy.deepcopy(torch.load(file, weights_only=True))
    holder = content
    for key in way[:-1]:
        holder = holder[key]
    change(holder, way[-1])
    path = file.with_name("damaged.ckpt")
    torch.save(content, path)
    return path


LATER = (CHECKPOINT, "network", "distances")  # came after the first checkpoints, which are read without it


def test_a_checkpoint_from_before_there_were_distances_is_read(file):
    assert not MetaUAS.from_checkpoint(damaged(file, LATER, lambda holder, key: holder.pop(key))).distances


@pytest.mark.parametrize("way", [way for way in PLACES if tuple(way) != LATER], ids=".".join)
def test_without_any_part_a_checkpoint_is_refused_by_the_name_of_the_file(file, way):
    path = damaged(file, way, lambda holder, key: holder.pop(key))
    for read in (MetaUAS.from_checkpoint, describe):
        with pytest.raises(BadRequest, match=r"damaged\.ckpt: ") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def refusal(path):
    """What is said of a file; empty if it is read."""
    try:
        MetaUAS.from_checkpoint(path)
    except BadRequest as error:
        return str(error)
    return ""


@settings(max_examples=40)
@given(way=st.sampled_from(PLACES), value=OTHER_VALUES)
def test_with_any_other_value_it_is_read_or_refused_in_one_line(file, way, value):
    path = damaged(file, way, lambda holder, key: holder.update({key: value}))
    said = refusal(path)
    assert said == "" or said.startswith(f"{path}: ")
    assert "\n" not in said


@settings(max_examples=60)
@given(st.data())
def test_bytes_that_were_cut_or_changed_are_read_or_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bytes")
    old_format = data.draw(st.booleans())
    content = {CHECKPOINT: {"version": 1, "size": [32, 64]}, "state_dict": {"network.x": torch.ones(2)}}
    torch.save(content, folder / "a.ckpt", _use_new_zipfile_serialization=not old_format)
    stored = bytearray((folder / "a.ckpt").read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    (folder / "a.ckpt").write_bytes(stored[: data.draw(st.integers(0, len(stored)))])
    for read in (MetaUAS.from_checkpoint, describe):
        with pytest.raises(BadRequest, match=r"a\.ckpt: "):
            read(folder / "a.ckpt")


@pytest.mark.parametrize(
    ("way", "value", "said"),
    [
        (("size",), [32], r"no whole checkpoint: size = \[32\]: List should have at least 2 items"),
        (("network", "levels"), 7, r"network\.levels = 7: Input should be 3 or 4"),
        (("network", "wings"), 2, r"network\.wings is not a parameter"),
        (("network", "encoder"), "resnet999", r"damaged\.ckpt: model\.encoder = resnet999: no such timm model"),
        (("network", "recipe"), {}, r"network\.recipe\.mean is missing"),
    ],
)
def test_what_is_damaged_is_said(file, way, value, said):
    path = damaged(file, (CHECKPOINT, *way), lambda holder, key: holder.update({key: value}))
    with pytest.raises(BadRequest, match=said):
        MetaUAS.from_checkpoint(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_no_numbers_are_refused_by_the_first_of_their_names(file, value):
    def spoil(state, key):
        state[key][0] = value
        state["network.mask_head.bias"][:] = value

    path = damaged(file, ("state_dict", "network.decoder.blocks.0.conv1.0.weight"), spoil)
    wanted = (
        r"damaged\.ckpt: 2 of \d+ tensors hold NaN or infinity, first decoder\.blocks\.0\.conv1\.0\.weight"
        r" \(\d+ of \d+ values\); pass another checkpoint"
    )
    for read in (MetaUAS.from_checkpoint, describe):
        with pytest.raises(BadRequest, match=wanted):
            read(path)
