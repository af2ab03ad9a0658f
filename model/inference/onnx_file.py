"""A network as an ONNX file: written, held against the network, and opened."""

import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from configs.model import System
from model.encoders import STRIDES
from model.metacan import MetaCAN
from model.onenip import OneNIP, relative_map
from model.systems import Network, system_of

OUTPUTS: dict[System, str] = {"metauas": "probability", "onenip": "map"}
TOLERANCE = 1e-4  # of a pixel of the map, between the file and the network
CHECKED_BATCH = 3  # another than was traced, so that a batch fixed by mistake is seen


def own_size(network: Network) -> tuple[int, int]:
    """Height and width in pixels that a network was trained at; 256 x 256, the paper's, if it does not say."""
    return network.size or (256, 256)


class _Comparison(nn.Module):
    """What the file computes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, prompt: Tensor, query: Tensor) -> Tensor:
        count = prompt.shape[0]
        levels = self.network.encode(torch.cat([prompt, query]))
        normal, seen = [level[:count] for level in levels], [level[count:] for level in levels]
        assert not isinstance(self.network, MetaCAN), "refused before"
        if isinstance(self.network, OneNIP):
            return relative_map(self.network.compare(normal, seen), self.network.alpha, self.network.normaliser)
        return self.network.compare(normal, seen).sigmoid()


def write_onnx(network: Network, path: Path, size: tuple[int, int], *, shared_prompt: bool = False) -> float:
    """Write `network`, in evaluation mode, for images of `size` = (H, W); the file appears whole or not at all.

    Returns:
        The largest difference of a pixel between the file, run by onnxruntime, and the network.

    Raises:
        BadRequest: it is a MetaCAN, `size` is not of multiples of 32, or not a OneNIP's own, a OneNIP has no scale, or
            the extra packages are not installed.
        Failure: the file does not compute what the network does.
    """
    if isinstance(network, MetaCAN):
        raise BadRequest(
            "export: a MetaCAN, whose image tower is a file of its own, is not exported; use the checkpoint"
        )
    if min(size) < STRIDES[-1] or any(side % STRIDES[-1] for side in size):
        raise BadRequest(f"export: size is {size[0]} x {size[1]}; wanted multiples of {STRIDES[-1]}")
    if isinstance(network, OneNIP):
        if size != network.size:
            raise BadRequest(f"export: size is {[*size]}; this OneNIP is of {[*network.size]} alone; leave --size out")
        if not network.normaliser:
            raise BadRequest(
                "export: a published OneNIP has no scale c of its maps; `calibrate` it on normal images from Python"
            )
    _need_onnx()
    batch = torch.export.Dim("batch", min=1)
    dynamic = {"prompt": None if shared_prompt else {0: batch}, "query": {0: batch}}
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about torch; whether the file is right is checked below
        program = torch.onnx.export(
            _Comparison(network).eval(),
            (images[:1] if shared_prompt else images, images.flip(0)),
            input_names=["prompt", "query"],
            output_names=[OUTPUTS[system_of(network)]],
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
            raise Failure(f"{path}: its maps differ from the network's by {difference:.1e}; not written")
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


def _difference(network: Network, path: Path, size: tuple[int, int], *, shared_prompt: bool) -> float:
    images = torch.rand(CHECKED_BATCH, 3, *size, generator=torch.Generator().manual_seed(1))
    prompt, query = images[:1] if shared_prompt else images, images.flip(3)
    with torch.inference_mode():
        expected = _Comparison(network)(prompt, query).numpy()
    found = open_onnx(path).run(None, {"prompt": prompt.numpy(), "query": query.numpy()})[0]
    return float(np.abs(found - expected).max())


def _need_onnx() -> Any:
    """onnxruntime, if it and the exporter's packages are there: they are an extra."""
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise BadRequest(f"no package {error.name}; pip install 'metauas-pipeline[onnx]'") from None
