"""The curves of a training run, in DVCLive's tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive.live import Live


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> Live:
    """Write DVCLive's tables anew from a history; the result takes further points."""
    live = Live(str(folder), save_dvc_exp=False, report=None, dvcyaml=None)
    for epoch, point in enumerate(history, start=1):
        add_point(live, epoch, point)
    return live


def add_point(live: Live, epoch: int, point: Mapping[str, float]) -> None:
    """Add an epoch to the tables and to metrics.json. `Live.end` is never called: it would touch git and DVC."""
    live.step = epoch
    for name, value in point.items():
        live.log_metric(name, value)
    live.make_summary()  # type: ignore[no-untyped-call]
