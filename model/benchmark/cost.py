"""What a method costs: its parameters, and the time of a query."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from model.benchmark.methods import Method

REPETITIONS = 3  # of a timed batch; the median counts
SLOW_S = 3.0  # a batch that takes longer is timed once


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
def measure_cost(
    name: str, method: Method, parts: Sequence[nn.Module], size: tuple[int, int], batch: int, device: torch.device
) -> Cost:
    """Time `method` on noise at `size`; `parts` are the modules that it is made of, each counted once."""
    queries = torch.rand((batch, 3, *size), generator=torch.Generator().manual_seed(0)).to(device)
    compare = method(queries[None, :1])

    def once() -> float:
        start = time.perf_counter()
        compare(queries.clone())  # a batch of its own each time: what was encoded before is remembered by its batch
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
