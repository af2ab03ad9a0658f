"""One network in several runtimes on the CPU: time, memory, and what INT8 costs in scores.

    pip install -e '.[onnx]' openvino nncf
    python -m benchmarks.runtimes                          # 256 and 512 px, the paper's network, random weights
    python -m benchmarks.runtimes --checkpoint models/metauas/best.ckpt --sizes 256 --scores ../hazelnut_toy

Cold: prompt and query are encoded; known: the prompt's features are there, in memory or in the file. Each way runs in a
process of its own that imports what it needs and no more; the processes take turns, and times are medians over the
turns, one image at a time. Memory is the peak of the whole process, libraries and weights included. INT8 is nncf's
quantisation after training, calibrated on random images, or on the normal images of what is scored; OpenVINO 2026.4.1
cannot compile the quantised file of a known prompt (make_tensor.cpp:58), so there is no such row.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

CASES = ("cold", "known")
RUNTIMES = ("torch", "torch, fast form", "ONNX Runtime", "OpenVINO", "OpenVINO, INT8")
SCORED = ("I-AUROC", "P-AP", "AUPRO")
WARM_UP, CALIBRATED = 3, 100

Run = Callable[[dict[str, Any]], Any]  # inputs by name -> map (B, 1, H, W)


def given(case: str, size: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng([seed, size])
    prompt, query = (rng.random((1, 3, size, size), np.float32) for _ in range(2))
    return {"prompt": prompt, "query": query} if case == "cold" else {"query": query}


def network_of(checkpoint: str | None) -> Any:
    from benchmarks.network import build
    from model.systems import open_network

    return open_network(Path(checkpoint)) if checkpoint else build()


def in_torch(checkpoint: str | None, case: str, size: int, *, fast: bool) -> Run:
    import torch

    from model.fast import for_inference

    network = network_of(checkpoint).eval()
    network = for_inference(network) if fast else network
    with torch.inference_mode():
        known = network.encode(torch.from_numpy(given("cold", size)["prompt"]))

    @torch.inference_mode()
    def run(inputs: dict[str, Any]) -> Any:
        query = torch.from_numpy(inputs["query"])
        prompt = network.encode(torch.from_numpy(inputs["prompt"])) if case == "cold" else known
        return network.compare(prompt, network.encode(query)).sigmoid().numpy()

    return run


def in_onnxruntime(path: Path) -> Run:
    import onnxruntime

    opened = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: opened.run(None, inputs)[0]


def in_openvino(path: Path) -> Run:
    import openvino

    compiled = openvino.compile_model(fixed(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda inputs: compiled(inputs)[0]


def fixed(path: Path) -> Any:
    """OpenVINO's model of a file, for one image at a time."""
    import openvino

    found = openvino.Core().read_model(path)
    sides = {one.any_name: [side.get_length() for side in list(one.partial_shape)[1:]] for one in found.inputs}
    found.reshape({name: [1, *own] for name, own in sides.items()})
    return found


def write_files(checkpoint: str | None, size: int, folder: Path, prompt: Any, images: Sequence[dict[str, Any]]) -> None:
    """The files of both cases as ONNX, and the cold one quantised."""
    import nncf
    import openvino
    import torch

    from model.inference import Inside, Notes, Told, write_onnx

    network = network_of(checkpoint).eval()
    made_of = Told(name="-", sha256="-")
    notes = Notes(
        version="-", input="-", size=[size, size], stretch="corners", image_score="max", prompts=[], checkpoint=made_of,
        data=None, threshold=None,
    )  # fmt: skip
    for case, inside in (("cold", None), ("known", Inside(torch.from_numpy(prompt), notes))):
        write_onnx(network, folder / f"{case}.onnx", (size, size), inside=inside)
    calibration = nncf.Dataset(list(images))
    quantised = nncf.quantize(fixed(folder / "cold.onnx"), calibration, subset_size=CALIBRATED)
    openvino.save_model(quantised, folder / "cold_int8.xml", compress_to_fp16=False)


def opened(runtime: str, checkpoint: str | None, case: str, size: int, folder: Path) -> Run:
    if runtime.startswith("torch"):
        return in_torch(checkpoint, case, size, fast="fast" in runtime)
    if runtime == "ONNX Runtime":
        return in_onnxruntime(folder / f"{case}.onnx")
    return in_openvino(folder / ("cold_int8.xml" if "INT8" in runtime else f"{case}.onnx"))


def one(runtime: str, checkpoint: str | None, case: str, size: int, folder: Path, repeats: int) -> dict[str, Any]:
    """Milliseconds of an image and peak MB of this process, and the map of known inputs."""
    run, inputs = opened(runtime, checkpoint, case, size, folder), given(case, size)
    seconds = []
    for _ in range(WARM_UP + repeats):
        start = time.perf_counter()
        found = run(inputs)
        seconds.append(time.perf_counter() - start)
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    np.save(folder / f"{runtime}_{case}.npy", found)
    return {"ms": 1000 * median(seconds[WARM_UP:]), "mb": peak / 1024}


def in_process(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.runtimes", "--one", *words]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(ended.stdout.splitlines()[-1]))


def time_rows(checkpoint: str | None, size: int, turns: int, repeats: int) -> Iterator[list[str]]:
    """A line for each case and runtime."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = [given("cold", size, seed) for seed in range(1, 11)]
        write_files(checkpoint, size, folder, given("cold", size)["prompt"], random)
        words = {
            (case, runtime): (runtime, checkpoint or "", case, str(size), name, str(repeats))
            for case in CASES
            for runtime in RUNTIMES
            if case == "cold" or "INT8" not in runtime
        }
        told = [{key: in_process(*of) for key, of in words.items()} for _ in range(turns)]
        for case, runtime in words:
            ms = median(turn[case, runtime]["ms"] for turn in told)
            faster = median(turn[case, RUNTIMES[0]]["ms"] / turn[case, runtime]["ms"] for turn in told)
            mb = max(turn[case, runtime]["mb"] for turn in told)
            maps = (np.load(folder / f"{of}_{case}.npy") for of in (runtime, RUNTIMES[0]))
            difference = float(np.abs(next(maps) - next(maps)).max())
            yield [case, runtime, f"{ms:.0f}", f"{faster:.2f}", f"{mb:.0f}", f"{difference:.1e}"]


def score_rows(checkpoint: str, root: Path, size: int) -> Iterator[list[str]]:
    """Scores by one prompt, the first normal image; the others calibrate."""
    from model.images import read_image, read_mask, resize_image, resize_mask
    from model.layouts import read_benchmark
    from model.scores import Tally

    def batch(path: Path) -> Any:
        return resize_image(read_image(path), (size, size), "corners").transpose(2, 0, 1)[None]

    (category,) = read_benchmark("mvtec", root)
    prompt, *others = (batch(path) for path in category.normals[: CALIBRATED + 1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(checkpoint, size, folder, prompt, [{"prompt": prompt, "query": image} for image in others])
        for runtime in RUNTIMES[2:]:
            run, tally = opened(runtime, checkpoint, "cold", size, folder), Tally()
            for query in category.queries:
                mask = np.zeros((size, size), np.bool_)
                if query.mask_path is not None:
                    mask = resize_mask(read_mask(query.mask_path), (size, size), "corners")
                tally.add(run({"prompt": prompt, "query": batch(query.path)})[0], mask[None])
            said = tally.scores().by_name()
            yield [category.name, runtime, *(f"{100 * said[name]:.1f}" for name in SCORED)]


def print_table(title: str, columns: Sequence[str], rows: Iterator[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("prompt", "runtime", "category") else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="of a MetaUAS (default: the paper's network with random weights)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--turns", type=int, default=3, help="processes of each way (default: 3)")
    parser.add_argument("--repeats", type=int, default=9, help="images that count in each (default: 9)")
    parser.add_argument("--scores", type=Path, nargs="+", default=[], help="folders of a category in MVTec layout")
    parser.add_argument("--one", nargs=6, metavar="WORD", help="what a process of its own is told")
    options = parser.parse_args()
    if options.one:
        runtime, checkpoint, case, size, folder, repeats = options.one
        print(json.dumps(one(runtime, checkpoint or None, case, int(size), Path(folder), int(repeats))))
        return
    for size in options.sizes if options.turns else ():
        columns = ("prompt", "runtime", "ms", "times faster", "peak MB", "max difference")
        print_table(
            f"{size} px, one image", columns, time_rows(options.checkpoint, size, options.turns, options.repeats)
        )
    for root in options.scores:
        rows = score_rows(options.checkpoint, root, options.sizes[0])
        print_table(f"{options.sizes[0]} px, in percent", ("category", "runtime", *SCORED), rows)


if __name__ == "__main__":
    main()
