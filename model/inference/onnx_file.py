"""A network as an ONNX file: written, held against the network, and opened."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from model.encoders import STRIDES
from model.metauas import MetaUAS

TOLERANCE = 1e-4  # of a probability, between the file and the network
CHECKED_BATCH = 3  # another than was traced, so that a batch fixed by mistake is seen


def square_size(network: MetaUAS) -> int:
    """The side in pixels that a network was trained at; 256, the paper's, if it does not say.

    Raises:
        BadRequest: it was trained on pictures that are not square.
    """
    height, width = network.size or (256, 256)
    if height != width:
        raise BadRequest(f"the network was trained at {height} x {width} px; pass --size")
    return height


class _Comparison(nn.Module):
    """What the file computes."""

    def __init__(self, network: MetaUAS) -> None:
        super().__init__()
        self.network = network

    def forward(self, prompt: Tensor, query: Tensor) -> Tensor:
        count = prompt.shape[0]
        levels = self.network.encode(torch.cat([prompt, query]))
        logits = self.network.compare([level[:count] for level in levels], [level[count:] for level in levels])
        return logits.sigmoid()


def write_onnx(network: MetaUAS, path: Path, size: int, *, shared_prompt: bool = False) -> float:
    """Write `network`, in evaluation mode, for images of `size` x `size` pixels; the file appears whole or not at all.

    Returns:
        The largest difference of a probability between the file, run by onnxruntime, and the network.

    Raises:
        BadRequest: `size` is no multiple of 32, or the extra packages are not installed.
        Failure: the file does not compute what the network does.
    """
    if size < STRIDES[-1] or size % STRIDES[-1]:
        raise BadRequest(f"export: size is {size}; wanted a multiple of {STRIDES[-1]}")
    _need_onnx()
    batch = torch.export.Dim("batch", min=1)
    dynamic = {"prompt": None if shared_prompt else {0: batch}, "query": {0: batch}}
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about torch; whether the file is right is checked below
        program = torch.onnx.export(
            _Comparison(network).eval(),
            (images[:1] if shared_prompt else images, images.flip(0)),
            input_names=["prompt", "query"],
            output_names=["probability"],
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.stem}.partial.onnx")
    program.save(str(aside))
    try:
        difference = _difference(network, aside, size, shared_prompt=shared_prompt)
        if not difference <= TOLERANCE:
            raise Failure(f"{path}: its probabilities differ from the network's by {difference:.1e}; not written")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return difference


def open_onnx(path: Path) -> Any:
    """An onnxruntime session of an exported file, on the CPU.

    Raises:
        BadRequest: onnxruntime is not installed, or the file is not one of `write_onnx`.
    """
    onnxruntime = _need_onnx()
    try:
        opened = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # its errors share no narrower class
        raise BadRequest(f"{path}: onnxruntime cannot read it ({str(error).splitlines()[0]})") from None
    if [value.name for value in opened.get_inputs()] != ["prompt", "query"]:
        raise BadRequest(f"{path}: not a file of python -m model.export; wanted inputs prompt and query")
    return opened


def _difference(network: MetaUAS, path: Path, size: int, *, shared_prompt: bool) -> float:
    images = torch.rand(CHECKED_BATCH, 3, size, size, generator=torch.Generator().manual_seed(1))
    prompt, query = images[:1] if shared_prompt else images, images.flip(3)
    with torch.inference_mode():
        expected = network.compare(network.encode(prompt), network.encode(query)).sigmoid().numpy()
    found = open_onnx(path).run(None, {"prompt": prompt.numpy(), "query": query.numpy()})[0]
    return float(np.abs(found - expected).max())


def _need_onnx() -> Any:
    """onnxruntime, if it and the exporter's packages are there: they are an extra."""
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise BadRequest(f"no package {error.name}; pip install 'metauas-pipeline[onnx]'") from None
