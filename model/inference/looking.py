"""An engine at work on files: maps and scores of queries, and the threshold that normal images set."""

import argparse
from collections.abc import Collection, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from configs.errors import BadRequest, Failure
from configs.evaluate import ImageScore
from model.encoders import sha256_of
from model.images import read_image
from model.inference.engine import Engine, stretch, to_batch
from model.inference.files import find_images
from model.inference.threshold import Threshold, check_threshold, in_words, threshold_of
from model.scores import image_scores
from pipeline.arrays import Image
from pipeline.progress import track

Map = npt.NDArray[np.float32]
FALSE_ALARMS = 0.01


class Predicted(NamedTuple):
    """What is found in one query; image and map are of one size."""

    image: Image
    map: Map  # in [0, 1]
    score: float | None  # the network's own; None: it is made of the map


def predict(
    engine: Engine, paths: Sequence[Path], batch_size: int, *, own_size: bool = False
) -> Iterator[tuple[Path, Predicted | Failure]]:
    """Yield each query's path with what is found in it, or with why there is nothing, in order.

    Args:
        engine: of `open_engine`.
        paths: of the queries.
        batch_size: queries at a time.
        own_size: maps are stretched to their image's own size; otherwise image and map are of the engine's.
    """
    for start in range(0, len(paths), batch_size):
        some = [(path, _read(path)) for path in paths[start : start + batch_size]]
        maps = _maps(engine, [image for _, image in some if not isinstance(image, Failure)], own_size=own_size)
        for path, image in some:
            found = image if isinstance(image, Failure) else next(maps)
            yield path, found or Failure(f"{path}: the anomaly map holds NaN or infinity; wanted numbers")


def add_threshold_options(parser: argparse.ArgumentParser) -> None:
    """The options --normals and --false-alarms, which `find_normals` checks."""
    parser.add_argument(
        "--normals", nargs="+", metavar="IMAGES", help="further normal images, which set a threshold to decide by"
    )
    parser.add_argument(
        "--false-alarms", type=float, help=f"share of normal images that may be above it (default: {FALSE_ALARMS})"
    )


def find_normals(args: argparse.Namespace) -> list[Path]:
    """The normal images that the options name; none without --normals.

    Raises:
        BadRequest: there are none, or a rate without them.
    """
    if args.false_alarms is not None and not args.normals:
        raise BadRequest("--false-alarms: wanted --normals too, the images by which a threshold is set")
    return find_images(args.normals or ())


def set_threshold(
    engine: Engine,
    normals: Sequence[Path],
    prompts: Collection[str],
    how: ImageScore,
    rate: float | None,
    batch_size: int,
    *,
    own_size: bool = False,
) -> Threshold:
    """The threshold that normal images set, and a line about it; see `threshold_of`.

    Args:
        engine: that looks at them.
        normals: copies and prompts among them are left out.
        prompts: the sha256 of each.
        how: an image's score is taken.
        rate: of false alarms; None: FALSE_ALARMS.
        batch_size: images at a time.
        own_size: see `predict`.

    Raises:
        BadRequest: there are fewer than two, or the rate is no share.
        Failure: one of them cannot be read, or its map holds NaN.
    """
    rate = FALSE_ALARMS if rate is None else rate
    paths = distinct(normals, prompts)
    check_threshold(len(paths), rate)
    scores, peaks = [], []
    for _, one in track(predict(engine, paths, batch_size, own_size=own_size), "normal images", len(paths)):
        if isinstance(one, Failure):
            raise Failure(f"--normals: {one}; all must be read to set a threshold")
        scores.append(score_of(one, how))
        peaks.append(float(one.map.max()))
    found = threshold_of(scores, peaks, rate)
    print(in_words(found))
    return found


def prompt_digests(engine: Engine, prompts: Sequence[Path]) -> list[str]:
    """The sha256 of each prompt: of those that an exported file has inside, or of the files that were given."""
    return [told.sha256 for told in engine.notes.prompts] if engine.notes else list(map(sha256_of, prompts))


def distinct(paths: Sequence[Path], known: Collection[str]) -> list[Path]:
    """Those of the files that are not `known` by their sha256, each content once: a copy tells nothing new."""
    seen, found = set(known), []
    for path in paths:
        digest = sha256_of(path)
        if digest not in seen:
            seen.add(digest)
            found.append(path)
    return found


def score_of(found: Predicted, how: ImageScore) -> float:
    """The score of a query: the network's own, or made of its map."""
    if how == "own":
        assert found.score is not None, "refused before"
        return found.score
    return float(image_scores(found.map[None], how)[0])


def _read(path: Path) -> Image | Failure:
    try:
        return read_image(path)
    except Failure as failure:
        return failure


def _maps(engine: Engine, images: Sequence[Image], *, own_size: bool) -> Iterator[Predicted | None]:
    """What is found in each image, or None where that is no number."""
    if not images:
        return
    batch = to_batch(images, engine.size, engine.how)
    said = engine.compare(batch)
    maps, own = (said, [None] * len(images)) if isinstance(said, Tensor) else (said[0], said[1].tolist())
    for image, stretched, found, score in zip(images, batch, maps.float(), own, strict=True):
        if not found.isfinite().all() or (score is not None and not isfinite(score)):
            yield None
        elif own_size:
            height, width = image.shape[:2]
            yield Predicted(image, stretch(found[None], (height, width), engine.how)[0, 0].numpy(), score)
        else:
            shown = (stretched * 255).round().byte().permute(1, 2, 0).numpy()
            yield Predicted(shown, found[0].numpy(), score)
