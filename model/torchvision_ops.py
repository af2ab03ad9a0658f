"""torchvision, importable beside a CPU build of torch; the package runs this before anything else in it.

timm imports torchvision. PyPI has torchvision's CUDA build only; its C++ library does not load beside a CPU torch, and
then `import torchvision` fails while it registers shape rules for operators that nobody declared. Declaring them here
is enough: this project never calls detection operators.

Where the library does load, it declares them itself, and a second declaration ends the process: so it is loaded first.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

BOXES = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")
LIBRARIES = ("_C*.so", "_C*.pyd")  # of torchvision


def declare() -> None:
    """Declare the schemas of torchvision's operators, unless its own library does."""
    if _loads():
        return
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", BOXES)


def _loads() -> bool:
    """Whether torchvision's library is there and loads beside this torch; it stays loaded, as after its import."""
    spec = find_spec("torchvision")
    folders = spec.submodule_search_locations if spec and spec.submodule_search_locations else ()
    for path in (path for folder in folders for pattern in LIBRARIES for path in sorted(Path(folder).glob(pattern))):
        try:
            torch.ops.load_library(str(path))  # type: ignore[no-untyped-call]  # torch's own
        except (OSError, RuntimeError):
            continue
        return True
    return False
