"""The runs of stage `train`, each in a folder of its own under the fingerprint of all that its result depends on.

    .work/trainings/<fingerprint>/model/     best.ckpt, last.ckpt, run.json; shown as models/<system>
    .work/trainings/<fingerprint>/pictures/  shown as reports/train/pictures

No run touches another's folder, so going back to earlier parameters finds the run that they had, and goes on with it.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configs.model import PIP_WEIGHTS
from configs.train import WITHOUT_EFFECT, AnyTrainParams
from model.encoders import find_pip_weights, sha256_of
from model.training.checkpoints import LAST, read_state
from model.training.run_state import RunState
from pipeline.linked import show
from pipeline.shards import fingerprint

Settings = dict[str, Any]  # all that a result depends on, by dotted names of parameters and a few words

RUN = "run.json"
MODEL, PICTURES = "model", "pictures"
NAME_LETTERS = 32  # of a fingerprint
SHOWN_CHANGES = 4  # in a line; the rest are counted
LIBRARIES = ("torch", "timm", "kornia", "numpy")
DIGESTS = ("weights", "pairs", "code")  # which no one would read
# What may change in the middle of a run, as versions of libraries may: only batch normalisation sees in which parts a
# batch is computed.
PARTS_OF_A_BATCH = ("train.devices", "train.device_batch")
# Where the learning rate does not depend on it, a longer run begins as a shorter one.
LENGTH = ("train.epochs", "train.max_pairs")


@dataclass(frozen=True)
class Run:
    """The folder of a run."""

    folder: Path
    settings: Settings
    began_with: list[Settings] = field(default_factory=list)  # "steps", and what was another until then

    @property
    def model(self) -> Path:
        """The folder of the checkpoints."""
        return self.folder / MODEL

    @property
    def pictures(self) -> Path:
        """The folder of the pictures."""
        return self.folder / PICTURES

    def picture(self, name: str) -> Path:
        """The path of a picture, where none is: one that is there may be linked to DVC's cache."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        path = self.pictures / name
        path.unlink(missing_ok=True)
        return path

    def state(self) -> RunState:
        """How far it has come, by its last checkpoint."""
        return read_state(self.model)

    def note(self, state: RunState, *, finished: bool) -> None:
        """Write run.json: what was asked for, and how far it has come."""
        said = {
            "name": self.folder.name,
            "finished": finished,
            "epochs": len(state.history),
            "steps": state.step,
            "settings": self.settings,
            "began_with": self.began_with,
        }
        self.model.mkdir(parents=True, exist_ok=True)
        aside = self.model / f"{RUN}.partial"
        aside.write_text(json.dumps(said, indent=1) + "\n")
        aside.replace(self.model / RUN)

    def publish(self, model: Path, pictures: Path) -> None:
        """Show the checkpoints and the pictures where DVC keeps them."""
        for made, target in ((self.model, model), (self.pictures, pictures)):
            if made.is_dir():
                show(made, target)


def settings_of(params: AnyTrainParams, pairs_digest: str, code: str) -> Settings:
    """All that a run's result depends on, the content of a weights file included.

    Args:
        params: of the run.
        pairs_digest: of the manifest of its pairs.
        code: digest of the code that trains.
    """
    name = params.weights
    weights = find_pip_weights(name) if name in PIP_WEIGHTS else Path(name)
    return {
        "seed": params.seed,
        **_flat("model", params.model.model_dump(mode="json")),
        **_flat("train", params.train.model_dump(mode="json", exclude=set(WITHOUT_EFFECT))),
        "weights": sha256_of(weights) if weights.is_file() else None,
        "pairs": pairs_digest,
        "code": code,
        **{f"version of {library}": number for library, number in versions().items()},
    }


def facts_of(params: AnyTrainParams, run: Run, version: int, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint of any system says of itself, in plain values only: it is read without running code from it.

    Args:
        params: of the run.
        run: that it is of.
        version: of what such checkpoints say.
        arguments: that the network is built with.
    """
    return {
        "version": version,
        "network": arguments,
        "fingerprint": fingerprint(run.settings),
        "began_with": run.began_with,
        "code": run.settings["code"],
        "seed": params.seed,
        "model": params.model.model_dump(),
        "train": params.train.model_dump(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The version of each of LIBRARIES."""
    return {library: version(library) for library in LIBRARIES}


def open_run(root: Path, settings: Settings, goes_on: Callable[[RunState], bool]) -> Run:
    """The run of these settings among those in `root`; says where it starts.

    Where there is none yet, it goes on with a copy of the run that has come furthest of those that differ only in what
    may change in the middle of a run. Of an epoch that is begun on other devices, some pairs come twice or not at all.

    Args:
        root: folder of the runs.
        settings: of `settings_of`.
        goes_on: whether a run that has come this far can go on with these settings and has something left to do.
    """
    run = Run(root / fingerprint(settings)[:NAME_LETTERS], settings)
    if (run.model / RUN).is_file():
        run = _read(run.model / RUN)
        _say_where(run)
        return run
    others = [_read(path) for path in sorted(root.glob(f"*/{MODEL}/{RUN}")) if not path.parent.parent.suffix]
    able = [other for other in others if _may_become(other.settings, settings) and goes_on(other.state())]
    if able:
        other = max(able, key=lambda one: (one.state().step, one.folder))
        return _copy(other, run)
    run.note(RunState(), finished=False)
    if others:
        last = max(others, key=lambda one: (one.model / RUN).stat().st_mtime_ns)
        print(
            f"train: starting anew, with {_changes(last.settings, settings)}; the run before stays in {last.folder}: go"
            " back to what it had to go on with it, or see python -m pipeline.prune",
            flush=True,
        )
    return run


def _copy(other: Run, run: Run) -> Run:
    """Begin `run` with all that `other` has come to."""
    state = other.state()
    differing = {name: other.settings.get(name) for name in _differing(other.settings, run.settings)}
    run = replace(run, began_with=[*other.began_with, {"steps": state.step, **differing}])
    aside = replace(run, folder=run.folder.with_name(f"{run.folder.name}.partial"))
    show(other.folder, aside.folder)
    aside.note(state, finished=False)
    shutil.rmtree(run.folder, ignore_errors=True)
    aside.folder.replace(run.folder)
    _say_where(other, f", with {_changes(other.settings, run.settings)}; that run stays as it is")
    return run


def _read(path: Path) -> Run:
    """The run of a run.json."""
    said = json.loads(path.read_text())
    return Run(path.parent.parent, said["settings"], said["began_with"])


def _may_become(settings: Settings, wanted: Settings) -> bool:
    """Whether a run may go on with other settings than it was begun with."""
    free = [*PARTS_OF_A_BATCH, *(f"version of {library}" for library in LIBRARIES)]
    free += LENGTH if wanted.get("train.schedule", "constant") == "constant" else ()
    return set(_differing(settings, wanted)) <= set(free)


def _differing(settings: Settings, wanted: Settings) -> list[str]:
    names = [*wanted, *(name for name in settings if name not in wanted)]
    return [name for name in names if settings.get(name, "") != wanted.get(name, "")]


def _changes(settings: Settings, wanted: Settings) -> str:
    """What differs, in words: `train.lr 0.002 instead of 0.001, other code`."""
    words = [
        f"other {name}" if name in DIGESTS else f"{name} {wanted.get(name)} instead of {settings.get(name)}"
        for name in _differing(settings, wanted)
    ]
    more = f" and {len(words) - SHOWN_CHANGES} more" if len(words) > SHOWN_CHANGES else ""
    return ", ".join(words[:SHOWN_CHANGES]) + more


def _say_where(run: Run, more: str = "") -> None:
    state = run.state()
    if state.step:
        place = f"batch {state.batch} of epoch {state.epoch}" if state.batch else f"epoch {state.epoch - 1}"
        print(f"train: going on after {place} of {run.model / LAST}{more}", flush=True)


def _flat(prefix: str, values: Mapping[str, Any]) -> Settings:
    flat: Settings = {}
    for name, value in values.items():
        flat |= _flat(f"{prefix}.{name}", value) if isinstance(value, dict) else {f"{prefix}.{name}": value}
    return flat
