import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.inference.drawing import boxed, heat_map
from model.inference.threshold import Region

MAPS = arrays(np.float32, (4, 5), elements=st.floats(-1, 2, width=32))
IMAGES = arrays(np.uint8, (4, 5, 3))


@given(MAPS, IMAGES, st.floats(0, 1))
def test_an_overlay_lies_between_its_image_and_its_colours(shown, image, opacity):
    colours = heat_map(shown).astype(float)
    over = heat_map(shown, image, opacity)

    assert np.abs(over - (opacity * colours + (1 - opacity) * image)).max() <= 1
    assert np.array_equal(heat_map(shown, image, 0.0), image)


def test_frames_lie_around_their_regions():
    image = np.zeros((64, 64, 3), np.uint8)
    drawn = boxed(image, [Region(10, 20, 5, 4, 20, 1.0)])
    assert not drawn[20:24, 10:15].any()
    assert (drawn[19, 9:16] == (0, 255, 255)).all()
    assert (drawn[24, 9:16] == (0, 255, 255)).all()
    assert not image.any()
