"""Training from pair shards to checkpoints: repeatable by seed, and resumed where it was killed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from configs.train import OneNIPTrainParams, TrainParams
from model.kept_memory import keep_freed_memory
from model.pairs import PairDataset
from model.training.checkpoints import restore
from model.training.devices import Devices
from model.training.feed import Feed
from model.training.learner import AnyLearner
from model.training.loop import Loop
from model.training.places import Places, count_parameters
from model.training.run_state import RunState
from model.training.runs import facts_of, open_run, settings_of
from pipeline.shards import Cache, read_manifest

ParamsT = TypeVar("ParamsT", TrainParams, OneNIPTrainParams)
# A new learner of the parameters, for the pairs to learn from, those to validate on, and a number of steps.
MakeLearner = Callable[[ParamsT, PairDataset, PairDataset, int, Devices], AnyLearner]


# Modules that show a run, or keep it; which code a run is of is said without them.
NOT_OF_THE_RESULT = (
    "model.encoders.folders",
    "model.kept_memory",
    "model.pictures",
    "model.training.display",
    "model.training.live_curves",
    "model.training.runs",
    "model.training.score_sheet",
    "model.training.sheets",
)


def run_on(params: ParamsT, places: Places, code: str, make_learner: MakeLearner[ParamsT], devices: Devices) -> None:
    """Train as `params` say, as one of several devices.

    Where `places.runs` holds a run of the same settings it goes on after that run's last checkpoint, to the same result
    as if it had never stopped; a finished one is left as it is. `code` is the digest of the code that trains: another
    one is another run.

    Raises:
        BadRequest: the parameters do not go together, or with the machine, or the shards are not there.
        Failure: the loss is not finite, a split has nothing to learn from, a checkpoint finds no room, or one of
            several devices was killed.
    """
    recipe = params.train
    if recipe.keep_memory:
        keep_freed_memory()
    training, validation = open_pairs(places, recipe.cache_gb, devices)
    feed = Feed(
        training,
        recipe.batch_size,
        buffer=recipe.shuffle_pairs,
        seed=params.seed,
        workers=recipe.loader_workers,
        ranks=devices.count,
        rank=devices.rank,
    )
    steps = count_steps(feed.batch_sizes, recipe.epochs, recipe.max_pairs)
    settings = settings_of(params, training.digest, code)
    goes_on = partial(can_go_on, steps=steps, steps_an_epoch=len(feed.batch_sizes))
    run = devices.from_first(open_run(places.runs, settings, goes_on) if devices.leads else None)
    assert run is not None
    state = run.state()
    torch.manual_seed(params.seed)
    learner = make_learner(params, training, validation, steps, devices)
    if not state.step and devices.leads:
        learner.start(training)
    devices.share(learner.network.state_dict().values())  # machines may differ in a last digit
    if state.step:
        restore(run.model, learner)
    facts = {
        **facts_of(params, run, learner.version, learner.network.arguments),
        "size": list(training[0]["mask"].shape),
        "pairs": training.digest,
    }
    loop = Loop(learner, feed, validation, state, run, places.model, places.curves, facts)
    if devices.leads and not loop.finished:
        said = f"train: {len(training)} pairs, {len(validation)} to validate; {count_parameters(learner.network)}"
        print(said, flush=True)
    loop.learn()


def open_pairs(places: Places, cache_gb: float, devices: Devices) -> tuple[PairDataset, PairDataset]:
    """The pairs to learn from and those to validate on; of a store, so many gigabytes are kept once they were read.

    Raises:
        BadRequest: there are no pairs.
        Failure: a split is empty, or the folder of what is kept cannot be used.
    """
    manifest = read_manifest(places.shards)
    cache = None
    if manifest.store is not None and cache_gb:
        digests = {shard.sha256 for shard in manifest.shards}
        cache = Cache(places.blocks, int(cache_gb * 1e9), digests, devices.count)
    return PairDataset(places.shards, "train", cache), PairDataset(places.shards, "val", cache)


def can_go_on(state: RunState, steps: int, steps_an_epoch: int) -> bool:
    """Whether a run that has come this far is the beginning of one with so many steps, and not all of it.

    One that `max_pairs` ended inside an epoch has closed that epoch early, and is the beginning of no other.
    """
    closed = state.step - state.batch  # steps, at the end of the last whole epoch
    return closed < steps and state.step <= steps and closed == len(state.history) * steps_an_epoch


def count_steps(sizes: Sequence[int], epochs: int, max_pairs: int | None) -> int:
    """How many batches a run has, whose epochs have batches of `sizes`: all, or until `max_pairs` are reached."""
    if max_pairs is None:
        return epochs * len(sizes)
    whole, left = divmod(max_pairs, sum(sizes))
    rest = int(np.searchsorted(np.cumsum(sizes), left)) + 1 if left else 0
    return min(epochs * len(sizes), whole * len(sizes) + rest)
