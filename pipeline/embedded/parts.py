"""The embedded anomaly benchmark: flawless and flawed parts in MVTec's layout, with exact masks.

An image depends on the seed, its category, its folder and its own number alone.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import cv2
import numpy as np

from configs.errors import Failure
from pipeline.arrays import Image, Mask
from pipeline.embedded.drawing.fields import Picture, smooth_noise
from pipeline.embedded.drawing.light import Light, draw_light, photograph, shade
from pipeline.embedded.parts_board import BOARD
from pipeline.embedded.parts_nut import NUT
from pipeline.embedded.parts_surface import Category, Surface
from pipeline.embedded.parts_textures import TERRAZZO, WEAVE
from pipeline.progress import track

PART_CATEGORIES: dict[str, Category[Any]] = {"board": BOARD, "nut": NUT, "terrazzo": TERRAZZO, "weave": WEAVE}
_OVERSAMPLING = 2
_VISIBLE = 8 / 255  # a smaller difference is no flaw: it drowns in sensor noise
_MIN_AREA = 0.002  # share of the image; a flaw that shows less is drawn again
_TRIES = 50
_NOISE = 0.012


class Job(NamedTuple):
    """One image of the benchmark: `split` is train or test, `kind` is good or the name of a flaw."""

    category: str
    split: str
    kind: str
    number: int


def draw_part(job: Job, seed: int, side_px: int, *, flawless: bool = False) -> tuple[Image, Mask]:
    """An image uint8 (side, side, 3) and the mask of its flaw; `flawless` gives the same piece without it."""
    category = PART_CATEGORIES[job.category]
    stream = [seed, crc32("/".join(job[:3]).encode()), job.number]
    rng = np.random.default_rng(stream)
    layout = category.lay_out(_OVERSAMPLING * side_px, rng)
    # The lamp of a test bench moves but keeps its colour.
    light = draw_light(rng, (50, 75))._replace(tint=np.ones(3, np.float32))
    glow = _draw_glow(side_px, rng)
    surface = category.build(layout)
    picture = _seen(surface, light, glow)
    mask = np.zeros((side_px, side_px), bool)
    if job.kind != "good" and not flawless:
        for attempt in range(1, _TRIES + 1):
            flaw_rng = np.random.default_rng([*stream, attempt])
            flawed = _seen(category.spoiled(layout, surface, job.kind, flaw_rng), light, glow)
            mask = _changed(picture, flawed)
            if mask.mean() >= _MIN_AREA:
                break
        else:
            raise Failure(f"{job}: {_TRIES} draws show less than {_MIN_AREA:.1%} of flaw; take another seed or side_px")
        # What changed invisibly goes back, so that the mask is exact.
        picture = np.where(mask[..., None], flawed, picture)
    return photograph(picture, rng, _NOISE), mask


def plan_parts(train_images: int, good_images: int, defect_images: int) -> list[Job]:
    """Every image of every category; flawed ones are spread evenly over the category's flaws."""
    jobs = []
    for name, category in PART_CATEGORIES.items():
        jobs += [Job(name, "train", "good", number) for number in range(train_images)]
        jobs += [Job(name, "test", "good", number) for number in range(good_images)]
        for order, flaw in enumerate(category.flaws):
            share = (defect_images + len(category.flaws) - 1 - order) // len(category.flaws)
            jobs += [Job(name, "test", flaw, number) for number in range(share)]
    return jobs


def write_parts(folder: Path, jobs: list[Job], seed: int, side_px: int, workers: int = 2) -> None:
    """Write the images and masks of `jobs`, replacing what `folder` holds."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in {path.parent for job in jobs for path in _paths(folder, job)}:
        parent.mkdir(parents=True)
    # spawn: a fork of a process with OpenCV's threads may hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        encoded = pool.map(partial(_encoded, seed=seed, side_px=side_px), jobs, chunksize=4)
        for job, files in zip(jobs, track(encoded, "parts", len(jobs)), strict=True):
            for path, content in zip(_paths(folder, job), files, strict=True):
                path.write_bytes(content)


def _paths(folder: Path, job: Job) -> Iterator[Path]:
    """Where the image goes, and the mask if there is one."""
    yield folder / job.category / job.split / job.kind / f"{job.number:03d}.png"
    if job.kind != "good":
        yield folder / job.category / "ground_truth" / job.kind / f"{job.number:03d}_mask.png"


def _encoded(job: Job, seed: int, side_px: int) -> list[bytes]:
    """The files of a job: image, and mask if there is a flaw."""
    cv2.setNumThreads(1)
    image, mask = draw_part(job, seed, side_px)
    arrays = [cv2.cvtColor(image, cv2.COLOR_RGB2BGR)]
    if job.kind != "good":
        arrays.append(np.where(mask, 255, 0).astype(np.uint8))
    return [cv2.imencode(".png", array)[1].tobytes() for array in arrays]


def _draw_glow(side_px: int, rng: np.random.Generator) -> Picture:
    """Exposure, white balance and uneven light of one shot: factors float32 (side, side, 3)."""
    uneven = smooth_noise(side_px, side_px, (side_px, side_px), rng)
    factors = rng.uniform(0.9, 1.1) * rng.normal(1, 0.012, 3) * (1 + 0.16 * (uneven - 0.5))[..., None]
    return np.asarray(factors, dtype=np.float32)


def _seen(surface: Surface, light: Light, glow: Picture) -> Picture:
    """The surface as the lens shows it, before the sensor; float32 (side, side, 3)."""
    lit = shade(surface.albedo, surface.relief_px, light, surface.gloss)
    side_px = len(glow)
    small = cv2.resize(np.clip(lit, 0, 1), (side_px, side_px), interpolation=cv2.INTER_AREA)
    return np.asarray(glow * small, dtype=np.float32)


def _changed(before: Picture, after: Picture) -> Mask:
    """Where two renders differ visibly, with pinholes closed; bool (H, W)."""
    differs = (np.abs(after - before).max(axis=2) > _VISIBLE).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0)
