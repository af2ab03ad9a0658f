import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from model.layouts import GOOD
from model.pictures.sheet import HEADINGS, Strip, draw_sheet, overlay, tint, write_picture, write_sheet
from model.pictures.turns import take_turns


def strip(label="cut\n001\nscore 0.90", height=32, width=48):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    truth = np.zeros((height, width), bool)
    truth[:8, :8] = True
    return Strip(label, image, image, truth, rng.random((height, width), np.float32))


def test_a_sheet_has_a_row_for_each_strip_and_a_heading_for_each_column():
    figure = draw_sheet("screw", [strip("first"), strip("second")])
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 2 * len(HEADINGS)
    assert [axes.get_title() for axes in pictures[: len(HEADINGS)]] == list(HEADINGS)
    assert [axes.texts[0].get_text() for axes in pictures if axes.texts] == ["first", "second"]


def test_maps_are_drawn_in_one_fixed_range():
    figure = draw_sheet("screw", [strip()])
    assert [picture.get_clim() for axes in figure.axes[3:4] for picture in axes.images] == [(0, 1)]


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (96, 32)], ids=["square", "wide", "tall"])
def test_pictures_keep_their_shape(size):
    figure = draw_sheet("screw", [strip("row", *size)] * 3)
    box = figure.axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(size[0] / size[1], rel=0.05)


def test_the_same_strips_give_the_same_file(tmp_path):
    for name in ("a", "b"):
        write_sheet(tmp_path / "new" / f"{name}.png", "screw", [strip(), strip()])
    first, second = ((tmp_path / "new" / f"{name}.png").read_bytes() for name in ("a", "b"))
    assert first == second
    assert cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR).std() > 10


@pytest.mark.parametrize("name", ["a$b$_{", "a$_{$"])
@pytest.mark.parametrize("place", ["title", "label"])
def test_a_name_that_looks_like_a_formula_is_written_as_it_is(tmp_path, name, place):
    title, label = (name, "cut") if place == "title" else ("screw", f"cut\n{name}\nscore 0.90")
    figure = draw_sheet(title, [strip(label)])
    assert not any(text.get_parse_math() for text in figure.findobj(Text) if name in text.get_text())
    write_picture(tmp_path / "sheet.png", figure)


def test_truth_is_red_on_grey():
    image = np.full((4, 4, 3), (10, 200, 90), np.uint8)
    mask = np.eye(4, dtype=bool)
    tinted = tint(image, mask).astype(int)
    assert (np.ptp(tinted[~mask], axis=1) == 0).all()
    assert (tinted[mask][:, 0] > tinted[mask][:, 1] + 50).all()
    assert (image == (10, 200, 90)).all()


def test_an_overlay_is_the_grey_image_where_nothing_is_found_and_bright_where_all_is():
    image = np.full((4, 4, 3), (10, 200, 90), np.uint8)
    shown = np.eye(4, dtype=np.float32)
    over = overlay(image, shown).astype(int)
    assert (over[shown == 0] == 100).all()
    assert (over[shown == 1].sum(axis=1) > 600).all()


@given(st.lists(st.sampled_from(["cut", "dent", GOOD, "hole"]), max_size=30), st.integers(1, 10))
def test_groups_take_turns(groups, count):
    places = take_turns(groups, count, "good")
    shown = [groups[place] for place in places]
    assert len(places) == min(count, len(groups)) == len(set(places))
    assert places == sorted(places)
    assert GOOD in shown or GOOD not in groups
    for group in set(shown):
        left = groups.count(group) - shown.count(group)
        most = max(shown.count(other) for other in set(shown))
        assert shown.count(group) >= most - 1 or left == 0
