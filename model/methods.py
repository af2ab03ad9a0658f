"""The network as a method, methods averaged, and what a method costs."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.baselines import Compare, Encode, Method
from model.metauas import MetaUAS
from model.prompts import How, compare_many

REPETITIONS = 3  # of a timed batch; the median counts
SLOW_S = 3.0  # a batch that takes longer is timed once


class EncodeOnce:
    """An encoder that remembers its last batch: all methods and prompts that look at it share its features."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._images: Tensor | None = None
        self._features: Sequence[Tensor] = ()

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        """Return the features of `images`, encoded now unless it is the very tensor of the last call."""
        if images is not self._images:
            self._features = self._encode(images)
            self._images = images
        return self._features


def network(model: MetaUAS, encode: Encode | None = None, how: How = "maps") -> Method:
    """The trained network as a method: probability of a change in [0, 1]; `how` several prompts are averaged."""
    encode = encode or model.encode

    def look(prompts: Tensor) -> Compare:
        features = [tuple(encode(shot)) for shot in prompts]
        return lambda queries: compare_many(model, features, tuple(encode(queries)), how).squeeze(1)

    return look


def averaged(methods: Sequence[Method]) -> Method:
    """The plain mean of several methods' maps (MetaUAS*+: the network and WinCLIP+'s visual prior)."""

    def look(prompts: Tensor) -> Compare:
        compares = [method(prompts) for method in methods]
        return lambda queries: torch.stack([compare(queries) for compare in compares]).mean(dim=0)

    return look


@dataclass(frozen=True)
class Cost:
    """A line of a table like the paper's Table 2."""

    method: str
    parameters: int
    learnable: int
    size: tuple[int, int]  # of the images, height and width
    ms: float  # for one query, its prompt already encoded
    batch: int  # queries at a time
    device: str


@torch.inference_mode()
def measure(
    name: str, method: Method, parts: Sequence[nn.Module], size: tuple[int, int], batch: int, device: torch.device
) -> Cost:
    """Time `method` on noise at `size`; `parts` are the modules that it is made of, each counted once."""
    queries = torch.rand((batch, 3, *size), generator=torch.Generator().manual_seed(0)).to(device)
    compare = method(queries[None, :1])

    def once() -> float:
        start = time.perf_counter()
        compare(queries)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    seconds = [once()]  # it warms up, and counts only if it takes so long that this does not matter
    if seconds[0] < SLOW_S:
        seconds = [once() for _ in range(REPETITIONS)]
    parameters = [parameter for part in parts for parameter in part.parameters()]
    return Cost(
        method=name,
        parameters=sum(parameter.numel() for parameter in parameters),
        learnable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        size=size,
        ms=1000 * statistics.median(seconds) / batch,
        batch=batch,
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} CPU threads",
    )
