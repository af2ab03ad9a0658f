"""How fast pairs come off the disk: the feed of training, beside the usual folder of PNG files read by a DataLoader.

    python -m benchmarks.feed                      makes its own pairs, by the project's stages, in a temporary folder
    python -m benchmarks.feed --pairs data/pairs   reads these

Every reader gives shuffled batches of uint8 tensors of the same pairs. Readers take turns, and the median of the rounds
is shown. CPU time is that of this process, so it is complete where there are no workers. Workers are threads of the
feed, and processes of a DataLoader.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset

from model.pairs import PairDataset
from model.training.feed import Feed
from pipeline.shards.provenance import ROOT

PAIRS_PER_IMAGE = 16


class Pngs(Dataset):
    """Three files a pair, read the usual way."""

    def __init__(self, root: Path) -> None:
        self.stems = sorted(str(path)[: -len("_mask.png")] for path in root.glob("*_mask.png"))

    def __len__(self) -> int:
        return len(self.stems)

    def __getitem__(self, index: int) -> dict:
        stem = self.stems[index]
        images = [cv2.cvtColor(cv2.imread(f"{stem}_{side}.png"), cv2.COLOR_BGR2RGB) for side in "ab"]
        mask = cv2.imread(f"{stem}_mask.png", cv2.IMREAD_GRAYSCALE)
        return {"pair": torch.from_numpy(np.stack(images)), "mask": torch.from_numpy(mask), "index": index}


def make_pairs(folder: Path, images: int, size_px: int) -> Path:
    """Draw embedded scenes and make pairs of them."""
    params = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    params["size_px"] = size_px
    params["scenes"]["images"] = params["index"]["images"] = images
    params["synth"]["pairs_per_image"] = PAIRS_PER_IMAGE
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for stage in ("scenes", "index", "inpaint", "synth"):
        subprocess.run([sys.executable, "-m", f"stages.{stage}"], cwd=folder, env={"PYTHONPATH": str(ROOT)}, check=True)
    return folder / "data" / "pairs"


def write_pngs(dataset: PairDataset, folder: Path) -> None:
    folder.mkdir()
    for index in range(len(dataset)):
        pair = dataset[index]
        for side, image in zip("ab", pair["pair"].numpy(), strict=True):
            cv2.imwrite(str(folder / f"{index:06d}_{side}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / f"{index:06d}_mask.png"), pair["mask"].numpy())


def readers(
    dataset: PairDataset, pngs: Path, batch_size: int, buffer: int, workers: int
) -> dict[str, Callable[[int], Iterable]]:
    """Each reader as a function of the epoch; its workers stay from epoch to epoch."""
    feed = Feed(dataset, batch_size, buffer=buffer, workers=workers)
    options = {"batch_size": batch_size, "shuffle": True, "num_workers": workers, "persistent_workers": workers > 0}
    options["multiprocessing_context"] = "forkserver" if workers else None
    single, usual = DataLoader(dataset, **options), DataLoader(Pngs(pngs), **options)
    return {
        "feed: blocks through a buffer": feed.epoch,
        "shards, single pairs at random": lambda _: single,
        "folder of PNG files": lambda _: usual,
    }


def measure(reader: Callable[[int], Iterable], epoch: int) -> tuple[float, float]:
    """Pairs per second, and CPU milliseconds a pair, over an epoch."""
    wall, cpu, pairs = time.perf_counter(), time.process_time(), 0
    for batch in reader(epoch):
        pairs += len(batch["index"])
    return pairs / (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu) / pairs


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, help="folder of shards; by default they are made")
    parser.add_argument("--images", type=int, default=96, help=f"to draw, {PAIRS_PER_IMAGE} pairs each (default 96)")
    parser.add_argument("--size", type=int, default=256, help="side of the pairs to make, in pixels (default 256)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--buffer", type=int, default=1024, help="pairs held to be shuffled (default 1024)")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="feed-"))
    try:
        pairs = options.pairs or make_pairs(folder, options.images, options.size)
        dataset = PairDataset(pairs, "train")
        write_pngs(dataset, folder / "png")
        height, width = dataset[0]["mask"].shape
        table = Table(title=f"{len(dataset)} pairs of {width} x {height} px, batches of {options.batch_size}")
        for heading in ("reader", "workers", "pairs/s", "CPU ms a pair", "MB on disk"):
            table.add_column(heading, justify="left" if heading == "reader" else "right")
        on_disk = [megabytes(pairs), megabytes(pairs), megabytes(folder / "png")]
        for workers in options.workers:
            every = readers(dataset, folder / "png", options.batch_size, options.buffer, workers)
            rounds = [
                [measure(reader, epoch) for reader in every.values()] for epoch in range(1, options.rounds + 2)
            ]  # the first starts workers and fills the page cache
            for number, (name, size) in enumerate(zip(every, on_disk, strict=True)):
                rate = statistics.median(each[number][0] for each in rounds[1:])
                cpu = statistics.median(each[number][1] for each in rounds[1:])
                table.add_row(name, str(workers), f"{rate:.0f}", f"{cpu:.2f}" if not workers else "", f"{size:.0f}")
        Console().print(table)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
