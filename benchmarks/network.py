"""Time and memory of the network against the published way of computing it, written plainly.

    python -m benchmarks.network                       # 256 and 512 px, a few minutes
    python -m benchmarks.network --sizes 256 --repeats 3 --compile --bf16

The plain way: two passes of the encoder, contiguous memory, the attention map as a whole, float32. On the CPU the
variants take turns in one process, and a variant's ratio is the median over the turns, so that a busy machine weighs on
all alike; memory is what a process of its own needs beyond weights and code. Weights are random. With a GPU its table
follows: milliseconds a pair, memory, and training steps with a frozen encoder.
"""

import argparse
import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from configs.errors import Failure, run
from model.fast.fast_form import for_inference
from model.fast.folding import replace
from model.metauas.decoder import SCSE
from model.metauas.network import MetaUAS

Step = Callable[[], Tensor]
GPU_BATCH = 32  # as the paper times (Table 2)
WARM_UP = 2
MEMORY_PASSES = 2


def build(seed: int = 0) -> MetaUAS:
    """The paper's network with random weights under which maps neither vanish nor grow."""
    generator = torch.Generator().manual_seed(seed)
    network = MetaUAS().eval()
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            value.normal_(0, (1.4 / value[0].numel()) ** 0.5, generator=generator)
        elif name.endswith(("running_var", "weight")):
            value.uniform_(0.8, 1.2, generator=generator)
        elif value.is_floating_point():
            value.normal_(0, 0.1, generator=generator)
    return network


class PlainSCSE(nn.Module):
    """Roy et al. (2018) as the published decoder computes it."""

    def __init__(self, scse: SCSE) -> None:
        super().__init__()
        self.cSE, self.sSE = scse.cSE, scse.sSE

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> the same shape."""
        return x * self.cSE(x) + x * self.sSE(x)  # type: ignore[no-any-return]


def plainly(network: MetaUAS) -> MetaUAS:
    """A copy of `network` for `plain`: its memory contiguous, its attention as published."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    for module in list(network.modules()):
        if isinstance(module, SCSE):
            replace(network, module, PlainSCSE(module))
    return network


def plain(network: MetaUAS, prompt: Tensor, query: Tensor) -> Tensor:
    """Eq. 1 to 6 word by word, of what `plainly` made."""
    encoded_prompt, encoded_query = network.encoder(prompt), network.encoder(query)
    levels = []
    for align, p, q in zip(network.alignment[::-1], encoded_prompt[-3:], encoded_query[-3:], strict=True):
        queries, keys = align.project(q).flatten(2), align.project(p).flatten(2)  # (B, C / 2, hw)
        weights = torch.softmax(torch.einsum("bcq,bck->bqk", queries, keys), dim=-1)
        levels.append(torch.einsum("bqk,bck->bcq", weights, p.flatten(2)).view_as(q))
    return network.decode(encoded_query, levels).sigmoid()


def steps(network: MetaUAS, size: int, extra: Sequence[str]) -> dict[str, Step]:
    """What is compared on the CPU, by name; the first is the yardstick."""
    prompt, query = images(1, size), images(1, size, seed=1)
    published = plainly(network)
    fast = for_inference(copy.deepcopy(network))
    with torch.inference_mode():
        known = [level.clone() for level in fast.encode(prompt)]
    found: dict[str, Step] = {
        "plain": lambda: plain(published, prompt, query),
        "cold pair": lambda: network(prompt, query).sigmoid(),
        "cold pair, fast form": lambda: fast(prompt, query).sigmoid(),
        "known prompt, fast form": lambda: fast.compare(known, fast.encode(query)).sigmoid(),
    }
    if "bf16" in extra:

        def in_bf16() -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return fast(prompt, query).sigmoid()

        found["cold pair, fast form, bf16"] = in_bf16
    if "compile" in extra:
        compiled = copy.deepcopy(network)
        compiled.encoder.compile()
        compiled.decoder.compile()
        found["cold pair, compiled"] = lambda: compiled(prompt, query).sigmoid()
    return found


@torch.inference_mode()
def compare_times(size: int, repeats: int, extra: Sequence[str]) -> list[dict[str, float | str]]:
    """Median milliseconds by the clock and of CPU time, ratios, and the largest difference from the plain way."""
    todo = steps(build(), size, extra)
    expected = todo["plain"]()
    assert expected.std() > 0.01, "a constant map would hide differences"
    differences = {name: float((step() - expected).abs().max()) for name, step in todo.items()}
    turns = [{name: timed(step) for name, step in todo.items()} for _ in range(repeats + WARM_UP)][WARM_UP:]
    return [
        {
            "name": name,
            "ms": 1000 * median(turn[name][0] for turn in turns),
            "cpu_ms": 1000 * median(turn[name][1] for turn in turns),
            "faster": median(turn["plain"][0] / turn[name][0] for turn in turns),
            "cpu_faster": median(turn["plain"][1] / turn[name][1] for turn in turns),
            "difference": differences[name],
        }
        for name in todo
    ]


def timed(step: Step) -> tuple[float, float]:
    """Seconds by the clock and of CPU time."""
    clock, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - clock, time.process_time() - cpu


def memory_of(name: str, size: int, threads: int, extra: Sequence[str]) -> float:
    """Peak MB of a variant beyond what its process holds before, measured in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.network", "--memory", name, "--sizes", str(size)]
    flags = [f"--{flag}" for flag in extra]
    ended = subprocess.run(
        [*command, "--threads", str(threads), *flags],
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"},  # what is freed goes back at once and is not kept
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Failure(f"memory of {name} at {size} px: {ended.stderr.strip().splitlines()[-1]}")
    return float(json.loads(ended.stdout))


@torch.inference_mode()
def peak_mb(name: str, size: int, extra: Sequence[str]) -> float:
    """Peak resident MB of a variant beyond what is held before it; the variant has run at 32 px before."""
    network = build()
    steps(network, 32, extra)[name]()
    step = steps(network, size, extra)[name]
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, so that building the network does not count
    before = resident_kb("VmRSS")
    for _ in range(MEMORY_PASSES):
        step()
    return (resident_kb("VmHWM") - before) / 1024


def resident_kb(field: str) -> int:
    """A line of the kernel's account of this process (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def images(count: int, size: int, seed: int = 0, device: str = "cpu") -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)).to(device)


def gpu_rows(sizes: Sequence[int], repeats: int, batch: int) -> list[tuple[str, ...]]:
    """A line for each size and way of computing: inference and training."""
    rows = []
    for size in sizes:
        for way in ("plain", "float32", "tf32", "bf16", "bf16, compiled"):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = way == "tf32"
            network = plainly(build().cuda()) if way == "plain" else build().cuda()
            inference = for_inference(copy.deepcopy(network)) if way != "plain" else network
            if "compiled" in way:
                for part in (inference.encoder, inference.decoder, network.decoder, network.encoder):
                    part.compile()
            pair = images(batch, size, device="cuda"), images(batch, size, seed=1, device="cuda")
            compare = (lambda p, q, n=inference: plain(n, p, q)) if way == "plain" else inference
            ms, megabytes = on_gpu(compare, pair, repeats, bf16="bf16" in way)
            pairs = "" if way == "plain" else f"{training_rate(network, pair, repeats, bf16='bf16' in way):.0f}"
            rows.append((str(size), way, f"{ms / batch:.2f}", f"{megabytes:.0f}", pairs))
    return rows


@torch.inference_mode()
def on_gpu(
    compare: Callable[[Tensor, Tensor], Tensor], pair: tuple[Tensor, Tensor], repeats: int, *, bf16: bool
) -> tuple[float, float]:
    """Median milliseconds of a batch, and the peak of allocated MB beyond weights and images."""
    before = torch.cuda.memory_allocated()
    seconds = []
    with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
        for turn in range(repeats + WARM_UP):
            if turn == WARM_UP:
                torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            start = time.perf_counter()
            compare(*pair)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return 1000 * median(seconds[WARM_UP:]), (torch.cuda.max_memory_allocated() - before) / 2**20


def training_rate(network: MetaUAS, pair: tuple[Tensor, Tensor], repeats: int, *, bf16: bool) -> float:
    """Pairs a second of forward, backward and AdamW, the encoder frozen."""
    learned = [parameter for parameter in network.train().parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4)
    target = torch.zeros(len(pair[0]), 1, *pair[0].shape[2:], device="cuda")
    seconds = []
    for _ in range(repeats + WARM_UP):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=bf16):
            logits = network(*pair)
        nn.functional.binary_cross_entropy_with_logits(logits, target).backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return len(target) / median(seconds[WARM_UP:])


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("way", "precision") else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.network", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="sides in pixels")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: 2)")
    parser.add_argument("--repeats", type=int, default=9, help="turns that count (default: 9)")
    parser.add_argument("--gpu-batch", type=int, default=GPU_BATCH, help="pairs at a time on a GPU (default: 32)")
    parser.add_argument("--bf16", action="store_true", help="also bfloat16 autocast on the CPU")
    parser.add_argument("--compile", action="store_true", help="also torch.compile on the CPU")
    parser.add_argument("--memory", metavar="WAY", help="only print the peak MB of one way, in this process")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    extra = [flag for flag in ("bf16", "compile") if getattr(args, flag)]
    if args.memory:
        print(json.dumps(peak_mb(args.memory, args.sizes[0], extra)))
        return 0
    for size in args.sizes:
        measured = compare_times(size, args.repeats, extra)
        megabytes = [memory_of(str(row["name"]), size, args.threads, extra) for row in measured]
        rows = [
            [
                str(row["name"]),
                f"{row['ms']:.0f}",
                f"{row['faster']:.2f}",
                f"{row['cpu_ms']:.0f}",
                f"{row['cpu_faster']:.2f}",
                f"{peak:.0f}",
                f"{peak / megabytes[0]:.2f}",
                f"{row['difference']:.1e}",
            ]
            for row, peak in zip(measured, megabytes, strict=True)
        ]
        columns = ("way", "ms", "times faster", "CPU ms", "times faster", "peak MB", "of plain", "max difference")
        print_table(f"{size} px, one pair, {args.threads} threads", columns, rows)
    if torch.cuda.is_available():
        columns = ("px", "precision", "ms a pair", "peak MB", "training pairs/s")
        rows_gpu = gpu_rows(args.sizes, args.repeats, args.gpu_batch)
        print_table(f"{torch.cuda.get_device_name()}, batch {args.gpu_batch}", columns, rows_gpu)
    return 0


if __name__ == "__main__":
    run(main)
