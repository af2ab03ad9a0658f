"""Hypothesis strategies shared by the tests of pipeline/."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

SIDES = st.integers(1, 24)


@st.composite
def images(draw, shape=None):
    height, width = shape or (draw(SIDES), draw(SIDES))
    return draw(hnp.arrays(np.uint8, (height, width, 3)))


@st.composite
def masks(draw, shape=None):
    height, width = shape or (draw(SIDES), draw(SIDES))
    return draw(hnp.arrays(np.bool_, (height, width)))


@st.composite
def pairs_with_mask(draw):
    """(original, other image of the same size, mask)."""
    shape = draw(SIDES), draw(SIDES)
    return draw(images(shape)), draw(images(shape)), draw(masks(shape))


def generators():
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)
