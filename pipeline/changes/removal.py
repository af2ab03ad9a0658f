"""What a removal of objects looks like: which of what a filler painted is a change that can be seen."""

from configs.visible import Visible
from pipeline.arrays import Image, Mask
from pipeline.changes.visible import contrast, keep_visible

UNCHANGED, INPAINT = "unchanged", "inpaint"  # the kinds of what data/inpainted holds
OBJECTS = "objects"  # the array of data/inpainted that holds the removed objects


def remove(image: Image, filled: Image, objects: Mask, hole: Mask, visible: Visible) -> tuple[Image, Mask]:
    """The image without the objects, and the mask of what changed.

    Args:
        image: uint8 (H, W, 3).
        filled: the filler's output for `hole`.
        objects: the pixels to be replaced.
        hole: the objects and a rim around them: an object's edge bleeds into the pixels next to it.
        visible: what counts as visible.

    The rim is changed, and belongs to the mask, only where the filler made a visible difference there.
    """
    mask = objects | (hole & (contrast(image, filled) >= visible.min_contrast))
    return keep_visible(image, filled, mask, visible.min_contrast, visible.min_share)
