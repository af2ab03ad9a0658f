import numpy as np
from hypothesis import given

from pipeline.sheet import PAIRS_PER_ROW, TILE_MIN_PX, SheetEntry, contact_sheet, outlined
from tests.pipeline.strategies import pairs_with_mask


@given(pairs_with_mask())
def test_an_outline_touches_the_rim_of_the_mask_alone(case):
    image, _, mask = case

    drawn = outlined(image, mask)

    assert (drawn[~mask] == image[~mask]).all()
    inner = np.pad(mask, 1)
    inner = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
    assert (drawn[inner] == image[inner]).all()


def test_a_sheet_has_a_readable_tile_for_every_pair():
    image, mask = np.zeros((64, 64, 3), np.uint8), np.eye(64, dtype=bool)
    entries = [SheetEntry(image, image, mask, f"pair {number}") for number in range(PAIRS_PER_ROW + 1)]

    sheet = contact_sheet(entries)

    assert sheet.shape[0] >= 2 * TILE_MIN_PX
    assert sheet.shape[1] >= PAIRS_PER_ROW * 3 * TILE_MIN_PX
