"""A network, or the ONNX file of one, with its prompts: a function of queries."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.backends import cudnn

from configs.errors import BadRequest
from configs.evaluate import ImageScore
from configs.model import System
from model.encoders import STRIDES
from model.fast import for_inference
from model.images import Stretch, enlarge, fitted, read_image, resize_image, shrink_by
from model.inference.onnx_file import OUTPUTS, Notes, notes_inside, open_onnx, own_size
from model.metacan import MetaCAN
from model.metauas import MetaUAS, PromptPool, compare_many, pooled
from model.onenip import OneNIP, neck
from model.systems import IMAGE_SCORES, open_network
from pipeline.arrays import Image

Together = Literal["maps", "features", "best"]
# Queries float32 (B, 3, H, W) in [0, 1] -> maps float32 (B, 1, H, W): the probability of a change, of OneNIP its score
# map, in which 1 is twice the scale that normal images set.
Predictor = Callable[[Tensor], Tensor]
# The same of a network that has scores of its own: maps (B, 1, H, W), and scores float32 (B,).
Scorer = Callable[[Tensor], tuple[Tensor, Tensor]]
# How images reach a network's size: as the published MetaUAS wants it, as the pairs that a OneNIP learned from, and as
# CLIP sees them.
STRETCH: dict[System, Stretch] = {"metauas": "corners", "onenip": "areas", "metacan": "crop"}


@dataclass(frozen=True)
class Speed:
    """How a network is run. Results are those of float32, on any device, but for `bf16`, good to about 0.01."""

    device: str = "cpu"
    bf16: bool = False
    compiled: bool = False  # by torch.compile: minutes once, worth it for many images


@dataclass(frozen=True)
class View:
    """In which size images are looked at."""

    side: int | tuple[int, int] | None = None  # of a square, or height and width, in pixels; None: the network's own
    keep_aspect: bool = False  # the first prompt's, at the area of that square
    scales: tuple[float, ...] = (1.0,)  # of that size, one after another; the mean of the maps


@dataclass(frozen=True)
class Engine:
    """A network or ONNX file with its prompts."""

    compare: Predictor | Scorer
    size: tuple[int, int]  # height and width in pixels, to which images are stretched
    how: Stretch  # they are; see `model.images`
    score: ImageScore  # of an image, as the paper's code takes it
    notes: Notes | None = None  # that an exported file has inside, with its prompts


def to_batch(images: Sequence[Image], size: tuple[int, int], how: Stretch = "corners") -> Tensor:
    """RGB uint8 images of any sizes -> float32 (B, 3, H, W) in [0, 1], stretched to `size` = (H, W)."""
    return torch.stack([torch.from_numpy(resize_image(image, size, how)).permute(2, 0, 1) for image in images])


def torch_compare(
    network: MetaUAS,
    prompts: Iterable[Tensor],
    together: Together,
    speed: Speed,
    batch_size: int,
    scales: Sequence[float] = (1.0,),
) -> Predictor:
    """Compare queries with `prompts`, encoded once; `network` is changed to its fast form.

    Args:
        network: in evaluation mode.
        prompts: normal images, float32 (3, H, W) in [0, 1], taken a batch at a time.
        together: of several prompts, whether their "maps" or aligned "features" are averaged, or each query takes the
            "best", the most similar.
        speed: device and precision.
        batch_size: prompts encoded together.
        scales: of the images' sides, at which all are looked at; the mean of the maps is given.
    """
    device = torch.device(speed.device)
    network = for_inference(network.to(device))
    if speed.compiled:
        network.encoder.compile()
        network.decoder.compile()
    precision = torch.autocast(device.type, torch.bfloat16, enabled=speed.bf16)
    if len(scales) > 1:
        prompts = list(prompts)
    with torch.inference_mode(), precision, _whole_float32():
        looks = []
        for scale in scales:
            shrink = shrink_by(scale, STRIDES[-1])
            shrunk = (shrink(prompt.unsqueeze(0))[0] for prompt in prompts)
            looks.append((shrink, _look(network, shrunk, together, batch_size, device)))

    @torch.inference_mode()
    def run_network(queries: Tensor) -> Tensor:
        with precision, _whole_float32():
            queries = queries.to(device)
            maps = [enlarge(look(shrink(queries)).squeeze(1), queries) for shrink, look in looks]
            return torch.stack(maps).mean(dim=0).unsqueeze(1).cpu()

    return run_network


def onenip_compare(network: OneNIP, prompts: Sequence[Tensor], together: Together, speed: Speed) -> Predictor:
    """As `torch_compare`, of a OneNIP. A published one, which has no scale c, takes it from the prompts' errors.

    Raises:
        BadRequest: features of several prompts are to be averaged, or there is no scale and but one prompt.
    """
    if together == "features":
        raise BadRequest("--together features: a OneNIP compares with one prompt at a time; take maps or best")
    device = torch.device(speed.device)
    network = network.to(device)
    if speed.compiled:
        network.encoder.compile()
    precision = torch.autocast(device.type, torch.bfloat16, enabled=speed.bf16)
    with torch.inference_mode(), precision, _whole_float32():
        normal = [(neck(network.encode(prompt.unsqueeze(0).to(device)), network.grid),) for prompt in prompts]
        if not network.normaliser:
            if len(normal) < 2:
                raise BadRequest(
                    "a published OneNIP has no scale of its maps; pass two or more normal images as --prompt"
                )
            network.calibrate(
                network.compare(one, other).error for one, other in zip(normal, normal[1:] + normal[:1], strict=True)
            )
        pool = PromptPool.build(network, prompts, keep_features=False) if together == "best" else None

    @torch.inference_mode()
    def run_network(queries: Tensor) -> Tensor:
        with precision, _whole_float32():
            query = network.encode(queries.to(device))
            if pool is not None:
                chosen = pool.best(pooled(query)).squeeze(1)
                guides = [(torch.cat([normal[place][0] for place in chosen.tolist()]),)]
            else:
                guides = normal
            seen = (neck(query, network.grid),)
            maps = [network.relative_map(network.compare(guide, seen)) for guide in guides]
            return torch.stack(maps).mean(dim=0).cpu()

    return run_network


def metacan_scores(network: MetaCAN, prompts: Sequence[Tensor], speed: Speed) -> Scorer:
    """Scores (Eq. 8) of queries compared with all `prompts` at once, and the mean of the levels' maps, in [0, 1]."""
    device = torch.device(speed.device)
    network = network.to(device)
    precision = torch.autocast(device.type, torch.bfloat16, enabled=speed.bf16)
    with torch.inference_mode(), precision, _whole_float32():
        references = torch.cat([network.encode(prompt.unsqueeze(0).to(device)) for prompt in prompts])

    @torch.inference_mode()
    def run_network(queries: Tensor) -> tuple[Tensor, Tensor]:
        with precision, _whole_float32():
            found = network.compare(references, network.encode(queries.to(device)))
            return enlarge(found.squares.mean(dim=1), queries).unsqueeze(1).cpu(), found.score.cpu()

    return run_network


def _look(
    network: MetaUAS, prompts: Iterable[Tensor], together: Together, batch_size: int, device: torch.device
) -> Predictor:
    """Queries on the device, of the prompts' size, -> probability there."""
    if together == "best":
        pool = PromptPool.build(network, prompts, batch_size=batch_size)

        def best(queries: Tensor) -> Tensor:
            query = network.encode(queries)
            return network.compare(pool.features(pool.best(pooled(query)).squeeze(1)), query).sigmoid()

        return best
    features = _encoded(network, prompts, batch_size, device)
    return lambda queries: compare_many(network, features, network.encode(queries), together)


def onnx_compare(path: Path, prompts: Sequence[Tensor], together: Together) -> Predictor:
    """As `torch_compare`, by a file of `model.export`; several prompts only by mean of maps.

    The file encodes the prompts each time anew, so they stay in memory as images.

    Raises:
        BadRequest: other use of several prompts, or no such file.
    """
    if len(prompts) > 1 and together != "maps":
        raise BadRequest(f"{path}: an ONNX file gives maps only; pass --together maps, or the checkpoint")
    opened = open_onnx(path)
    shared = opened.get_inputs()[0].shape[0] == 1

    def run_file(queries: Tensor) -> Tensor:
        maps = []
        for prompt in prompts:
            sides = prompt.expand(1 if shared else len(queries), -1, -1, -1)  # (3, H, W) -> (B, 3, H, W)
            maps.append(opened.run(None, {"prompt": sides.numpy(), "query": queries.numpy()})[0])
        return torch.from_numpy(np.mean(maps, axis=0))

    return run_file


def open_engine(
    path: Path,
    prompts: Sequence[Path],
    view: View,
    together: Together,
    speed: Speed,
    batch_size: int,
    clip_weights: Path | None = None,
) -> Engine:
    """A network or ONNX file with its prompts.

    Args:
        path: a checkpoint that `open_network` reads, or a file of `model.export` that ends in .onnx.
        prompts: normal images.
        view: in which size; an ONNX file has its own.
        together: see `torch_compare`.
        speed: device and precision; an ONNX file knows the CPU and float32 only.
        batch_size: prompts read and encoded together.
        clip_weights: open_clip's file, for a MetaCAN.

    Raises:
        BadRequest: what is asked for does not go together with the file.
        Failure: a prompt cannot be read.
    """
    if path.suffix.lower() == ".onnx":
        return _of_file(path, prompts, view, together, speed)
    if not prompts:
        raise BadRequest(f"--prompt: wanted normal images to compare with; {path} has none inside")
    sides = (view.side, view.side) if isinstance(view.side, int) else view.side
    if not all(0 < scale <= 1 for scale in view.scales):
        raise BadRequest(f"--scales {' '.join(map(str, view.scales))}: wanted shares of the size, above 0 and up to 1")
    open_device(speed.device)
    network = open_network(path, clip_weights)
    size = sides or own_size(network)
    if isinstance(network, MetaCAN):
        if size != network.size or view.keep_aspect or view.scales != (1.0,) or together != "maps" or speed.compiled:
            raise BadRequest(
                f"{path}: a MetaCAN sees {network.size[0]} x {network.size[1]} px and all prompts at once; leave"
                " --size, --keep-aspect, --scales, --together and --compile out"
            )
        images = list(read_images(prompts, size, STRETCH["metacan"]))
        return Engine(metacan_scores(network, images, speed), size, STRETCH["metacan"], IMAGE_SCORES["metacan"])
    if sides is not None and (min(sides) < STRIDES[-1] or any(side % STRIDES[-1] for side in sides)):
        raise BadRequest(f"--size is {view.side}; wanted a multiple of {STRIDES[-1]}")
    if isinstance(network, OneNIP):
        if size != network.size or view.keep_aspect or view.scales != (1.0,):
            raise BadRequest(
                f"{path}: a OneNIP is of one size, here {network.size[0]} x {network.size[1]} px; leave --size,"
                " --keep-aspect and --scales out"
            )
        images = list(read_images(prompts, size, STRETCH["onenip"]))
        compare = onenip_compare(network, images, together, speed)
        return Engine(compare, size, STRETCH["onenip"], IMAGE_SCORES["onenip"])
    if view.keep_aspect:
        height, width = read_image(prompts[0]).shape[:2]
        size = fitted(size, (height, width), STRIDES[-1])
    compare = torch_compare(network, read_images(prompts, size), together, speed, batch_size, view.scales)
    return Engine(compare, size, STRETCH["metauas"], IMAGE_SCORES["metauas"])


def _of_file(path: Path, prompts: Sequence[Path], view: View, together: Together, speed: Speed) -> Engine:
    """The engine of a file of `model.export`."""
    if speed != Speed():
        raise BadRequest(f"{path}: an ONNX file runs on the CPU in float32; pass the checkpoint for other ways")
    opened = open_onnx(path)
    notes = notes_inside(opened, path)
    height, width = opened.get_inputs()[-1].shape[2:]
    if view not in (View(), View(height)):
        raise BadRequest(f"{path} is for one look at {height} x {width} px; leave --size and its like out")
    size = (height, width)
    if notes is None:
        if not prompts:
            raise BadRequest(f"--prompt: wanted normal images to compare with; {path} has none inside")
        system = next(system for system, name in OUTPUTS.items() if name == opened.get_outputs()[0].name)
        how = STRETCH[system]
        return Engine(
            onnx_compare(path, list(read_images(prompts, size, how)), together), size, how, IMAGE_SCORES[system]
        )
    if prompts:
        said = ", ".join(prompt.name for prompt in notes.prompts)
        raise BadRequest(f"{path}: has its prompts inside ({said}); leave --prompt out, or pass another file")
    if together != "maps":
        raise BadRequest(f"{path}: has its prompts inside, whose maps are averaged; leave --together out")

    def run_file(queries: Tensor) -> Tensor:
        return torch.from_numpy(opened.run(["map"], {"query": queries.numpy()})[0])

    return Engine(run_file, size, notes.stretch, notes.image_score, notes)


def open_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        BadRequest: there is none.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise BadRequest(f"--device {name}: {str(error).splitlines()[0]}") from None


@contextmanager
def _whole_float32() -> Iterator[None]:
    """GPUs since Ampere round what they convolve to TF32, 10 bits of 23, unless torch is told otherwise."""
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = before


def stretch(maps: Tensor, size: tuple[int, int], how: Stretch = "corners") -> Tensor:
    """Maps (B, 1, h, w) -> (B, 1, H, W), bilinear, so that they lie on their images, which were stretched `how`.

    Of images whose middle was cut out the rest, which no network saw, is 0.
    """
    if how == "crop":
        shorter = min(size)
        middle = F.interpolate(maps, (shorter, shorter), mode="bilinear", align_corners=False)
        top, left = ((side - shorter) // 2 for side in size)
        return F.pad(middle, (left, size[1] - shorter - left, top, size[0] - shorter - top))
    return F.interpolate(maps, size, mode="bilinear", align_corners=how == "corners")


def read_images(paths: Iterable[Path], size: tuple[int, int], how: Stretch = "corners") -> Iterator[Tensor]:
    """Read images one by one, float32 (3, H, W) in [0, 1] at `size` = (H, W)."""
    return (to_batch([read_image(path)], size, how)[0] for path in paths)


def _encoded(
    network: MetaUAS, prompts: Iterable[Tensor], batch_size: int, device: torch.device
) -> list[tuple[Tensor, ...]]:
    """The aligned levels of each prompt, (1, C, h, w); the others, the largest, are given back a batch at a time."""
    rest = iter(prompts)
    features: list[tuple[Tensor, ...]] = []
    while batch := list(islice(rest, batch_size)):
        levels = network.encode(torch.stack(batch).to(device))[network.unaligned :]
        features += zip(*(level.chunk(len(batch)) for level in levels), strict=True)
    return features
