"""What the page keeps of images that were judged, and what it shows of one at a threshold."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from configs.errors import BadRequest, Failure
from configs.evaluate import ImageScore
from model.images import SUFFIXES, Stretch, read_image
from model.inference import (
    Engine,
    Region,
    Speed,
    Threshold,
    View,
    boxed,
    heat_map,
    notes_of,
    open_device,
    open_engine,
    predict,
    prompt_digests,
    regions_of,
    score_of,
    set_threshold,
)
from model.systems import open_network
from pipeline.arrays import Image

BATCH = 4
SHOWN_PX = 768  # longer side of a picture on the page, at most
MIDDLE = 0.5  # where thresholds begin that no normal images set
BELOW, ABOVE, LINE = "#4c72b0", "#dd5555", "#222222"
BINS = 30
STEP = 1e-4  # of a threshold

Tell = Callable[[float, str], None]  # how far the work is, in [0, 1], and what it does


@dataclass(frozen=True)
class Network:
    """What judges: a file that `open_engine` reads, and how it is run."""

    checkpoint: Path
    size: int | None = None
    clip_weights: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Levels:
    """Above `score` an image is anomalous; what lies above `pixel` in its map is framed."""

    score: float
    pixel: float


@dataclass(frozen=True)
class Judged:
    """One query; its picture and map lie beside those of the others."""

    name: str
    score: float
    highest: float  # pixel of its map
    picture: Path  # PNG, as it is shown
    map: Path  # .npy, float32 (H, W) in [0, 1], at the network's size


@dataclass(frozen=True)
class Round:
    """All that was judged by the same normal images."""

    folder: Path
    prompts: tuple[str, ...]
    judged: tuple[Judged, ...]
    failed: tuple[str, ...]  # why a query has no map, one line each
    how: ImageScore
    threshold: Threshold | None  # that normal images set
    begin: Levels  # where the thresholds stand at first

    @property
    def highest(self) -> float:
        """The highest level that a threshold may take."""
        reached = (max(one.score, one.highest) for one in self.judged)
        return max(1.0, *map(math.ceil, reached), self.begin.score, self.begin.pixel)

    def above(self, level: float) -> list[int]:
        """The places of what is anomalous."""
        return [place for place, one in enumerate(self.judged) if one.score > level]


@dataclass(frozen=True)
class Shown:
    """One query at a threshold."""

    picture: Image
    overlay: Image  # of the same size
    regions: list[Region]  # of an anomalous one, in pixels of the picture
    anomalous: bool


def names_inside(network: Network) -> tuple[str, ...] | None:
    """Names of the prompts that an exported file has inside; None of a network that is given its prompts.

    Raises:
        BadRequest: the file is no network.
        Failure: it is a damaged one.
    """
    if network.checkpoint.suffix.lower() != ".onnx":
        open_device(network.device)
        open_network(network.checkpoint, network.clip_weights)
        return None
    notes = notes_of(network.checkpoint)
    return tuple(told.name for told in notes.prompts) if notes else None


def judge(
    network: Network,
    prompts: Sequence[Path],
    queries: Sequence[Path],
    normals: Sequence[Path],
    rate: float,
    folder: Path,
    tell: Tell,
) -> Round:
    """Judge `queries` by normal images, and keep pictures and maps in `folder`.

    Args:
        network: that judges.
        prompts: normal images; none for an exported file that has them inside.
        queries: images to judge.
        normals: further normal images, which set a threshold; may be none.
        rate: of false alarms, of normal images.
        folder: there, empty.
        tell: is called with the progress.

    Raises:
        BadRequest: what is asked for does not go together with the network, or there are too few normal images.
        Failure: a prompt or a normal image cannot be read, or no query can.
    """
    if not queries:
        raise BadRequest(f"no images to judge; drop some, or a folder of them: {', '.join(sorted(SUFFIXES))}")
    tell(0, "reading the network and its normal images")
    view = View(network.size)
    engine = open_engine(network.checkpoint, prompts, view, "maps", Speed(network.device), BATCH, network.clip_weights)
    threshold = _threshold(engine, prompts, normals, rate)
    judged, failed, times = [], [], Counter[str]()
    for number, (path, found) in enumerate(predict(engine, queries, BATCH)):
        tell(number / len(queries), f"judging {number + 1} of {len(queries)}")
        if isinstance(found, Failure):
            failed.append(str(found).replace(str(path), path.name))
            continue
        picture, kept = folder / f"{number:05d}.png", folder / f"{number:05d}_{path.stem}.npy"
        _write(picture, _as_shown(path, found.image, engine.how))
        np.save(kept, found.map)
        times[path.name] += 1
        name = path.name if times[path.name] == 1 else f"{path.name} ({times[path.name]})"  # of several folders
        judged.append(Judged(name, score_of(found, engine.score), float(found.map.max()), picture, kept))
    if not judged:
        raise Failure(f"none of {len(queries)} images could be judged: {failed[0]}")
    begin = Levels(threshold.score, threshold.pixel) if threshold else Levels(MIDDLE, MIDDLE)
    names = [told.name for told in engine.notes.prompts] if engine.notes else [path.name for path in prompts]
    return Round(folder, tuple(names), tuple(judged), tuple(failed), engine.score, threshold, begin)


def show(one: Judged, levels: Levels, opacity: float) -> Shown:
    """A query with its map over it, framed where the map is above its level if the score is above its own."""
    picture = np.asarray(PIL.Image.open(one.picture), np.uint8)
    height, width = picture.shape[:2]
    probability = cv2.resize(np.load(one.map), (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    anomalous = one.score > levels.score
    found = regions_of(probability, levels.pixel) if anomalous else []
    return Shown(picture, boxed(heat_map(probability, picture, opacity), found), found, anomalous)


def histogram(scores: Sequence[float], level: float, highest: float) -> Figure:
    """How the scores lie about a level."""
    figure = Figure(figsize=(6, 1.8), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(0, highest, BINS + 1).tolist()
    for label, colour, some in (
        ("normal", BELOW, [score for score in scores if score <= level]),
        ("anomalous", ABOVE, [score for score in scores if score > level]),
    ):
        axes.hist(some, edges, color=colour, label=f"{label}: {len(some)}")
    axes.axvline(level, color=LINE, linewidth=1.5)
    axes.set(xlabel="score", ylabel="images", xlim=(0, highest))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def scores_file(some: Round, levels: Levels) -> Path:
    """Write scores.json: the normal images, the levels, and each query's score and whether it is anomalous."""
    said = {
        "prompts": list(some.prompts),
        "threshold": asdict(levels),
        "set_by_normal_images": some.threshold and asdict(some.threshold),
        "queries": [
            {"name": one.name, "score": one.score, "anomalous": one.score > levels.score} for one in some.judged
        ],
        "failed": list(some.failed),
    }
    path = some.folder / "scores.json"
    path.write_text(json.dumps(said, indent=1) + "\n")
    return path


def overlay_file(some: Round, place: int, shown: Shown) -> Path:
    """Write the picture with its map over it."""
    path = some.folder / f"{some.judged[place].map.stem}_overlay.png"
    _write(path, shown.overlay)
    return path


def _write(path: Path, image: Image) -> None:
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise Failure(f"cannot write {path}; is the disk full?")


def _threshold(engine: Engine, prompts: Sequence[Path], normals: Sequence[Path], rate: float) -> Threshold | None:
    if not normals:
        return engine.notes.threshold if engine.notes else None
    return set_threshold(engine, normals, prompt_digests(engine, prompts), engine.score, rate, BATCH)


def _as_shown(path: Path, seen: Image, how: Stretch) -> Image:
    """The picture of a file, shrunk; of a MetaCAN's the middle square that it has seen."""
    if how == "crop":
        return seen
    image = read_image(path)
    height, width = image.shape[:2]
    shrink = min(1.0, SHOWN_PX / max(height, width))
    size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
