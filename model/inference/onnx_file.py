"""A network as an ONNX file: written, held against the network, and opened."""

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from configs.errors import BadRequest, Failure
from configs.evaluate import ImageScore
from configs.model import System
from configs.section import Section, explain
from model.encoders import STRIDES
from model.images import Stretch
from model.inference.threshold import Threshold
from model.metacan import MetaCAN
from model.metauas import MetaUAS, compare_many
from model.onenip import OneNIP, neck, relative_map
from model.scores import POOLED_PX
from model.systems import Network, system_of

OUTPUTS: dict[System, str] = {"metauas": "probability", "onenip": "map"}
GIVEN, INSIDE = ["prompt", "query"], ["query"]  # inputs of a file that is given its prompts, and of one that has them
KNOWN_OUTPUTS = ["map", "score"]  # of the latter
NOTES = "metauas-pipeline"  # key of its metadata
TOLERANCE = 1e-4  # of a pixel of the map, between the file and the network
CHECKED_BATCH = 3  # another than was traced, so that a batch fixed by mistake is seen


def own_size(network: Network) -> tuple[int, int]:
    """Height and width in pixels that a network was trained at; 256 x 256, the paper's, if it does not say."""
    return network.size or (256, 256)


class Told(Section):
    """A file that something was made of."""

    name: str
    sha256: str


class Notes(Section):
    """What a file with its prompts inside says of itself, as JSON under one key of its metadata."""

    version: str  # of this project
    input: str  # in words
    size: list[int]  # height and width in pixels
    stretch: Stretch  # how an image is brought to it
    image_score: ImageScore  # what output `score` is of the map
    prompts: list[Told]
    checkpoint: Told
    data: str | None  # digest of the manifest that it learned from; None: not known
    threshold: Threshold | None


@dataclass(frozen=True)
class Inside:
    """What a file for one kind of object keeps beside the network."""

    prompts: Tensor  # normal images float32 (K, 3, H, W) in [0, 1], whose maps are averaged
    notes: Notes


class _Known(nn.Module):
    """What a file with its prompts inside computes: maps (B, 1, H, W), and scores (B,) as the system's code does."""

    def __init__(self, network: MetaUAS | OneNIP, prompts: Tensor) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            levels = [network.encode(prompt.unsqueeze(0)) for prompt in prompts]
            if isinstance(network, OneNIP):
                self.shots = [[neck(found, network.grid)] for found in levels]
            else:
                self.shots = [list(found)[network.unaligned :] for found in levels]

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.network.encode(query)
        if isinstance(self.network, OneNIP):
            at_grid, network = (neck(seen, self.network.grid),), self.network
            found = [network.compare(tuple(shot), at_grid) for shot in self.shots]
            maps = torch.stack([relative_map(one, network.alpha, network.normaliser) for one in found]).mean(dim=0)
            return maps, F.avg_pool2d(maps, POOLED_PX, 1).amax(dim=(1, 2, 3))
        maps = compare_many(self.network, self.shots, seen)
        return maps, maps.amax(dim=(1, 2, 3))


class _Comparison(nn.Module):
    """What a file computes that is given its prompts."""

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


def write_onnx(
    network: Network, path: Path, size: tuple[int, int], *, shared_prompt: bool = False, inside: Inside | None = None
) -> float:
    """Write `network`, in evaluation mode, for images of `size` = (H, W); the file appears whole or not at all.

    Its inputs are `prompt` and `query`, its output is the map; or, with prompts `inside`, its input is `query` and its
    outputs are `map` and `score`, and its metadata are the notes.

    Returns:
        The largest difference of a pixel between the file, run by onnxruntime, and the network.

    Raises:
        BadRequest: `size` is not of multiples of 32, or not a OneNIP's own, a OneNIP has no scale, or
            the extra packages are not installed.
        Failure: the file does not compute what the network does.
    """
    check_export(network, size)
    assert not isinstance(network, MetaCAN), "refused before"
    batch = torch.export.Dim("batch", min=1)
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    program = _traced(network, images, batch, inside, shared_prompt=shared_prompt)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.stem}.partial.onnx")
    program.save(str(aside))
    try:
        difference = _difference(network, aside, size, inside, shared_prompt=shared_prompt)
        if not difference <= TOLERANCE:
            raise Failure(f"{path}: its maps differ from the network's by {difference:.1e}; not written")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return difference


def check_export(network: Network, size: tuple[int, int]) -> None:
    """Check that a network can be written for images of `size` = (H, W); raises as `write_onnx`."""
    assert not isinstance(network, MetaCAN), "refused before"
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


def _traced(
    network: MetaUAS | OneNIP, images: Tensor, batch: Any, inside: Inside | None, *, shared_prompt: bool
) -> Any:
    """The ONNX program of a network, on two images of its size."""
    if inside is None:
        module: nn.Module = _Comparison(network)
        arguments: tuple[Tensor, ...] = (images[:1] if shared_prompt else images, images.flip(0))
        inputs, outputs = GIVEN, [OUTPUTS[system_of(network)]]
        dynamic: dict[str, Any] = {"prompt": None if shared_prompt else {0: batch}, "query": {0: batch}}
    else:
        module, arguments = _Known(network, inside.prompts), (images,)
        inputs, outputs, dynamic = INSIDE, KNOWN_OUTPUTS, {"query": {0: batch}}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about torch; whether the file is right is checked below
        program = torch.onnx.export(
            module.eval(),
            arguments,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    if inside is not None:
        program.model.metadata_props[NOTES] = inside.notes.model_dump_json()
    return program


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
    if [value.name for value in opened.get_inputs()] not in (GIVEN, INSIDE):
        raise BadRequest(
            f"{path}: not a file of python -m model.export; wanted inputs prompt and query, or query alone"
        )
    return opened


def notes_of(path: Path) -> Notes | None:
    """As `notes_inside`, of a file."""
    return notes_inside(open_onnx(path), path)


def notes_inside(opened: Any, path: Path) -> Notes | None:
    """What a file with its prompts inside says of itself; None of a file that is given its prompts.

    Raises:
        BadRequest: it says nothing, or another thing than this version understands.
    """
    if [value.name for value in opened.get_inputs()] == GIVEN:
        return None
    said = opened.get_modelmeta().custom_metadata_map.get(NOTES)
    if said is None:
        raise BadRequest(
            f"{path}: its metadata have no {NOTES!r}; export it anew, with python -m model.export --prompt"
        )
    try:
        return Notes.model_validate_json(said)
    except ValidationError as error:
        raise BadRequest(
            f"{path}: its metadata are not of this version ({explain(error.errors()[0])}); export it anew"
        ) from None


def _difference(
    network: MetaUAS | OneNIP, path: Path, size: tuple[int, int], inside: Inside | None, *, shared_prompt: bool
) -> float:
    images = torch.rand(CHECKED_BATCH, 3, *size, generator=torch.Generator().manual_seed(1))
    if inside is not None:
        with torch.inference_mode():
            wanted = _Known(network, inside.prompts)(images)
        outputs = open_onnx(path).run(None, {"query": images.numpy()})
        return max(float(np.abs(one - own.numpy()).max()) for one, own in zip(outputs, wanted, strict=True))
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
