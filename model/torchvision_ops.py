"""torchvision, importable beside a CPU build of torch; the package runs this before anything else in it.

timm imports torchvision. PyPI has torchvision's CUDA build only; its C++ library does not load beside a CPU torch, and
then `import torchvision` fails while it registers shape rules for operators that nobody declared.
Declaring them here, only when they are missing, is enough: this project never calls detection operators.
"""

import torch

BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
MISSING_OPERATORS = ("nms", "qnms")


def declare() -> None:
    """Declare the schemas of torchvision's missing operators."""
    for name in MISSING_OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", BOXES)
