"""The loop of a run: epochs of steps, what is looked at after each, and what is written when."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from configs.errors import Failure
from model.pairs import PairDataset
from model.training.checkpoints import save_best, save_last
from model.training.display import Display, Pace, describe_epoch
from model.training.feed import Batch, Feed, to_device
from model.training.held import Held
from model.training.learner import AnyLearner, Learned
from model.training.live_curves import add_point, write_curves
from model.training.run_state import RunState, best_epoch
from model.training.runs import Run
from model.training.sheets import SHEET_PAIRS, spread_over

SELECT_BY = {"val_loss": "val/loss", "val_pixel_ap": "val/pixel_ap/all"}
NAMED_PAIRS = 8  # in an error; the rest are counted


@dataclass(frozen=True)
class _Pending:
    """A step whose loss has not been looked at yet."""

    learned: Learned
    batch: Batch


class Loop:
    """Runs `learner` over `feed` from where `progress` stands.

    The first of several devices validates and writes; the others wait for it.

    Args:
        learner: what learns.
        feed: this device's batches.
        validation: the pairs to validate on.
        state: how far the run has come; kept up to date.
        run: where its checkpoints and pictures are written.
        shown: where its checkpoints are shown.
        curves: folder of DVCLive's tables, in which the pictures are shown.
        facts: plain values that every checkpoint carries beside the weights.
    """

    def __init__(
        self,
        learner: AnyLearner,
        feed: Feed,
        validation: PairDataset,
        state: RunState,
        run: Run,
        shown: Path,
        curves: Path,
        facts: Mapping[str, Any],
    ) -> None:
        self.learner = learner
        self.recipe = learner.recipe
        self.devices = learner.devices
        self.feed = feed
        self.state = state
        self.run = run
        self.shown = shown
        self.curves = curves
        self.facts = facts
        self.epochs = math.ceil(learner.steps / len(feed.batch_sizes))
        self.select_by = SELECT_BY[self.recipe.select_by]
        self.pace = Pace()
        self._end_of_work: torch.cuda.Event | None = None
        at_once = min(self.recipe.batch_size // self.recipe.devices, self.recipe.device_batch or self.recipe.batch_size)
        self.held = Held(validation, at_once, self.recipe.loader_workers, self.devices.device)

    @property
    def finished(self) -> bool:
        """Whether the last step was made and its epoch closed."""
        return self.state.step >= self.learner.steps and not self.state.batch

    def learn(self) -> None:
        """Go on to the end.

        Raises:
            Failure: the loss is not finite, or nothing changes in the validation pairs.
        """
        if self.devices.leads:
            # As far as the checkpoint knows them: what a killed run logged past it is drawn again.
            self._live = write_curves(self.curves, self.state.history)
            self._draw_augmented()
            self._publish()
        if self.finished:
            self._say(f"train: {self.run.folder} holds this run, finished; nothing to do. {self._best()}")
            return
        while not self.finished:
            self._learn_epoch()
            self._close_epoch()
        self._say(f"train: {self.pace} in {self.pace.seconds:.0f} s of training. {self._best()}")

    def _learn_epoch(self) -> None:
        """Learn from what is left of the epoch."""
        state, learner = self.state, self.learner
        epoch = state.epoch
        learner.network.train()
        batches = islice(self.feed.epoch(epoch, state.batch), learner.steps - state.step)
        pending: _Pending | None = None
        with Display(f"epoch {epoch}/{self.epochs}", sum(self.feed.batch_sizes), shown=self.devices.leads) as display:
            self.pace.start()
            # A loss is waited for when the next batch is here with its draws, so that a GPU works while the CPU does.
            for batch in batches:
                self.pace.lap(waited=not self._is_busy())
                draws = learner.draw(batch, epoch)
                self._settle(pending, display)
                batch = self._to_device(batch)
                pending = _Pending(learner.step(batch, draws, epoch, state.batch, state.step), batch)
                self._mark_end_of_work()
                self.pace.lap()
            self._settle(pending, display)
            self.pace.lap()

    def _settle(self, pending: _Pending | None, display: Display) -> None:
        """Wait for a step, count it, and write a checkpoint where one is due."""
        if pending is None:
            return
        state = self.state
        loss = float(pending.learned.loss)
        if not math.isfinite(loss):
            raise self._failure(loss, pending)
        state.add(loss, self.feed.batch_sizes[state.batch])
        self.pace.pairs += self.feed.batch_sizes[state.batch - 1]
        display.update(state.pairs, state.loss / state.pairs, self.pace)
        if state.step % self.recipe.checkpoint_steps == 0 and self.devices.leads:
            save_last(self.run.model, self.learner, state, self.facts)

    def _failure(self, loss: float, pending: _Pending) -> Failure:
        """Name the pairs whose own loss is not finite, on whatever device."""
        broken = ~torch.isfinite(pending.learned.of_pairs).cpu()
        indices, images = (pending.batch[name][broken].tolist() for name in ("index", "image_id"))
        places = zip(map(self.feed.dataset.place, indices), images, strict=True)
        names = self.devices.of_all([f"{shard}[{row}] (image {image})" for (shard, row), image in places])
        shown = ", ".join(names[:NAMED_PAIRS]) or "of which none alone is to blame"
        more = f" and {len(names) - NAMED_PAIRS} more" if len(names) > NAMED_PAIRS else ""
        return Failure(
            f"train: the loss is {loss} in epoch {self.state.epoch}, batch {self.state.batch + 1}, on pairs"
            f" {shown}{more}; lower train.lr, or look at a pair's shard with python -m pipeline.inspect"
        )

    def _close_epoch(self) -> None:
        """Validate and write; the last checkpoint comes last, so a kill in between repeats what was not written."""
        state, learner = self.state, self.learner
        point = self.devices.from_first(learner.validate(self.held) if self.devices.leads else {})
        state.close_epoch(point)
        epoch = len(state.history)
        if self.devices.leads:
            add_point(self._live, epoch, state.history[-1])
            every = self.recipe.sheet_epochs
            if every is not None and (epoch % every == 0 or self.finished):
                self._draw_predictions(epoch)
            if best_epoch(state.history, self.select_by) == epoch:
                save_best(self.run.model, learner, state, self.facts)
            save_last(self.run.model, learner, state, self.facts)
            self._publish()
        self._say(f"epoch {epoch}/{self.epochs}: {describe_epoch(state.history[-1])}, {self.pace}")

    def _draw_augmented(self) -> None:
        """Draw the first pairs of the first epoch."""
        batch = next(
            Feed(self.feed.dataset, SHEET_PAIRS, buffer=self.recipe.shuffle_pairs, seed=self.learner.seed).epoch(1)
        )
        self.learner.draw_views(self.run.picture("augmented.png"), self._to_device(batch))

    def _draw_predictions(self, epoch: int) -> None:
        held = self.held.dataset
        kinds = held.kinds()
        places = spread_over(kinds, SHEET_PAIRS)
        lies = map(held.place, places)
        shown = [held.kind_names[kind] for kind in kinds[places]]
        names = [f"{kind}\n{shard} {row}" for kind, (shard, row) in zip(shown, lies, strict=True)]
        (batch,) = self.held.some(places, len(places))
        self.learner.draw_predictions(
            self.run.picture(f"val_epoch_{epoch:03d}.png"), f"val, epoch {epoch}", batch, names
        )

    def _publish(self) -> None:
        self.run.note(self.state, finished=self.finished)
        self.run.publish(self.shown, self.curves / "pictures")

    def _to_device(self, batch: Batch) -> Batch:
        return to_device(batch, self.devices.device)

    def _mark_end_of_work(self) -> None:
        if self.devices.device.type == "cuda":
            self._end_of_work = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._end_of_work.record()

    def _is_busy(self) -> bool:
        """Whether a GPU still works on the last step."""
        end = self._end_of_work
        return end is not None and not end.query()  # type: ignore[no-untyped-call]

    def _best(self) -> str:
        best = best_epoch(self.state.history, self.select_by)
        return f"Best epoch {best} of {len(self.state.history)}: {describe_epoch(self.state.history[best - 1])}"

    def _say(self, line: str) -> None:
        if self.devices.leads:
            print(line, flush=True)
