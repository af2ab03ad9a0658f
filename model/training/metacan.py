"""MetaCAN as it learns (Lv et al., CIKM 2025, section 3.4): outer steps over one task of each category, on features.

Nothing but the detector learns, and what it learns from was computed before: a run is minutes to hours on a CPU. What
a task draws in a step follows from seed, step and task alone, so a killed run goes on to the same weights.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any, overload

import numpy as np
import torch

from configs.errors import Failure
from configs.train import MetaCANTrain, MetaCANTrainParams
from model.encoders import sizes_of
from model.features import FeatureSet, check_tasks, draw_episode, draw_places, made_with
from model.kept_memory import keep_freed_memory
from model.metacan import CHECKPOINT, CHECKPOINT_VERSION, MetaCAN, Recipe, Task, focal_loss, outer_step
from model.scores import score
from model.training.checkpoints import restore, save_best, save_last
from model.training.live_curves import add_point, write_curves
from model.training.places import Places, count_parameters
from model.training.run_state import LAST_EPOCH, RunState, best_epoch
from model.training.runs import Run, facts_of, open_run, settings_of
from model.training.score_sheet import Scored, write_scores
from pipeline.progress import track

SELECT_BY = {"val_loss": "val/loss", "val_i_auroc": "val/i_auroc", "last": LAST_EPOCH}
FOR_VALIDATION = 0  # in place of a step in the keys of draws; training counts from 1
AT_ONCE = 32  # images compared together in validation
MOST_HELD = 64  # of a task's held-back images of each label


class MetaLearner:
    """A MetaCAN and its optimiser.

    Args:
        network: on its device.
        recipe: section `train`.
        seed: of all draws.
    """

    system = CHECKPOINT

    def __init__(self, network: MetaCAN, recipe: MetaCANTrain, seed: int) -> None:
        assert network.detector is not None, "checked when the parameters were read"
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.optimizer = torch.optim.Adam(network.detector.parameters(), lr=recipe.lr)
        self.device = next(network.detector.parameters()).device
        self._outer = Recipe(
            shots=recipe.shots,
            support=recipe.support,
            query=recipe.query,
            steps=recipe.epochs * recipe.steps_per_epoch,
            inner_lr=recipe.inner_lr,
            outer_lr=recipe.lr,
            first_order=recipe.first_order,
            only_last_task=recipe.only_last_task,
            fresh_adam=recipe.fresh_adam,
            remember=recipe.remember,
        )

    def step(self, images: FeatureSet, step: int) -> float:
        """Learn from one task of each category in outer step `step`, from 1; return the loss.

        Raises:
            BadRequest: a task has too few images.
        """
        return outer_step(self.network, _Drawn(self, images, step), self.optimizer, self._outer)

    @torch.inference_mode()
    def validate(self, training: FeatureSet, held: FeatureSet) -> tuple[dict[str, float], list[Scored]]:
        """Score the held-back images of each task against references that are learned from.

        The point has the loss and the image-level scores, means over the tasks; beside it what each image scored.
        """
        network, found = self.network.eval(), []
        losses, aurocs, precisions = [], [], []
        for number, name in enumerate(training.tasks):
            rng = np.random.default_rng([self.seed, FOR_VALIDATION, number])
            references = training.read(draw_places(training, name, rng, anomalous=False, most=self.recipe.shots)).to(
                self.device
            )
            places = [
                place
                for label in (False, True)
                for place in sorted(draw_places(held, name, rng, anomalous=label, most=MOST_HELD))
            ]
            parts = [places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE)]
            scores = torch.cat([network.compare(references, held.read(part).to(self.device)).score for part in parts])
            labels = held.labels(places)
            losses.append(float(focal_loss(scores.cpu(), labels)))
            values, truth = scores.cpu().numpy(), labels.numpy().astype(np.bool_)
            ranked = score(values.reshape(-1, 1, 1), truth.reshape(-1, 1, 1))
            aurocs.append(ranked.i_auroc)
            precisions.append(ranked.i_ap)
            found.append(Scored(name, values, truth))
        return {"val/loss": mean(losses), "val/i_auroc": mean(aurocs), "val/i_ap": mean(precisions)}, found

    def task(self, images: FeatureSet, number: int, step: int) -> Task:
        """What outer step `step` learns from of a task, on the device."""
        recipe, rng = self.recipe, np.random.default_rng([self.seed, step, number])
        sizes = {"shots": recipe.shots, "support": recipe.support, "query": recipe.query}
        drawn = images.task(draw_episode(images, images.tasks[number], rng, **sizes))
        return Task(*(part.to(self.device) for part in drawn))


class _Drawn(Sequence[Task]):
    """The tasks of an outer step, each read when it is asked for: of 15 at the size of CLIP's one takes 0.1 GB."""

    def __init__(self, learner: MetaLearner, images: FeatureSet, step: int) -> None:
        self._learner = learner
        self._images = images
        self._step = step

    def __len__(self) -> int:
        return len(self._images.tasks)

    @overload
    def __getitem__(self, number: int) -> Task: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Task]: ...
    def __getitem__(self, number: int | slice) -> Task | Sequence[Task]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._learner.task(self._images, number, self._step)


def train_metacan(params: MetaCANTrainParams, places: Places, code: str) -> None:
    """Train a MetaCAN on the features in a folder of shards.

    Where `places.runs` holds a run of the same settings it goes on after that run's last checkpoint, to the same
    weights as if it had never stopped; a finished one is left as it is. `code` is the digest of the code that trains.

    Raises:
        BadRequest: a task has too few images, or none held back, or the CLIP file is missing or does not fit.
        Failure: there are no features of a split, or other ones than the parameters say; the loss is not finite; or a
            checkpoint finds no room.
    """
    recipe, clip = params.train, params.clip
    if recipe.keep_memory:
        keep_freed_memory()
    training, held = FeatureSet(places.shards, "train"), FeatureSet(places.shards, "val")
    check_tasks(training, held)
    steps = recipe.epochs * recipe.steps_per_epoch
    settings = settings_of(params, training.digest, code)
    run = open_run(places.runs, settings, lambda state: not state.batch and state.step < steps)
    state = run.state()
    torch.manual_seed(params.seed)
    network = MetaCAN.from_clip(
        clip.weights,
        blocks=clip.blocks,
        terms=params.model.terms,
        hidden=params.model.hidden,
        sizes=sizes_of(clip.towers),
    )
    wanted = made_with(clip, network.arguments["clip_sha256"])
    if training.parameters != wanted:
        raise Failure(
            f"train: the features in {places.shards} were made with {training.parameters}, but params.yaml says"
            f" {wanted}; run `dvc repro features`"
        )
    learner = MetaLearner(network.to("cuda" if torch.cuda.is_available() else "cpu"), recipe, params.seed)
    if state.step:
        restore(run.model, learner)
    facts = {**facts_of(params, run, CHECKPOINT_VERSION, network.arguments), "features": training.digest}
    _Loop(learner, training, held, state, run, places, facts).learn(steps)


class _Loop:
    """Epochs of outer steps; the last checkpoint comes last, so a kill in between repeats what was not written."""

    def __init__(
        self,
        learner: MetaLearner,
        training: FeatureSet,
        held: FeatureSet,
        state: RunState,
        run: Run,
        places: Places,
        facts: Mapping[str, Any],
    ) -> None:
        self.learner = learner
        self.training = training
        self.held = held
        self.state = state
        self.run = run
        self.places = places
        self.facts = facts
        self.select_by = SELECT_BY[learner.recipe.select_by]

    def learn(self, steps: int) -> None:
        state, recipe = self.state, self.learner.recipe
        live = write_curves(self.places.curves, state.history)
        self._publish(steps)
        if state.step >= steps:
            print(f"train: {self.run.folder} holds this run, finished; nothing to do. {self._best()}", flush=True)
            return
        print(
            f"train: {len(self.training)} images of {len(self.training.tasks)} tasks, {len(self.held)} to validate;"
            f" {count_parameters(self.learner.network)}",
            flush=True,
        )
        while state.step < steps:
            left = range(state.batch, recipe.steps_per_epoch)
            for _ in track(
                left, f"epoch {state.epoch}/{recipe.epochs} steps", recipe.steps_per_epoch, done=state.batch
            ):
                self._step()
            point, scored = self.learner.validate(self.training, self.held)
            state.close_epoch(point)
            epoch = len(state.history)
            add_point(live, epoch, state.history[-1])
            self._draw(epoch, scored)
            if best_epoch(state.history, self.select_by) == epoch:
                save_best(self.run.model, self.learner, state, self.facts)
            save_last(self.run.model, self.learner, state, self.facts)
            self._publish(steps)
            print(f"epoch {epoch}/{recipe.epochs}: {_in_words(state.history[-1])}", flush=True)
        print(f"train: {self._best()}", flush=True)

    def _step(self) -> None:
        state = self.state
        loss = self.learner.step(self.training, state.step + 1)
        if not np.isfinite(loss):
            raise Failure(f"train: the loss is {loss} in outer step {state.step + 1}; lower train.lr or train.inner_lr")
        state.add(loss, 1)
        if state.step % self.learner.recipe.checkpoint_steps == 0 and state.batch < self.learner.recipe.steps_per_epoch:
            save_last(self.run.model, self.learner, state, self.facts)

    def _draw(self, epoch: int, scored: list[Scored]) -> None:
        path = self.run.picture("val_scores.png")
        write_scores(path, f"val images after epoch {epoch}: a score each, by task", scored)

    def _publish(self, steps: int) -> None:
        self.run.note(self.state, finished=self.state.step >= steps)
        self.run.publish(self.places.model, self.places.curves / "pictures")

    def _best(self) -> str:
        best = best_epoch(self.state.history, self.select_by)
        return f"Best epoch {best} of {len(self.state.history)}: {_in_words(self.state.history[best - 1])}"


def _in_words(point: Mapping[str, float]) -> str:
    return (
        f"loss {point['train/loss']:.4f}, val loss {point['val/loss']:.4f}, val image AUROC {point['val/i_auroc']:.3f},"
        f" AP {point['val/i_ap']:.3f}"
    )
