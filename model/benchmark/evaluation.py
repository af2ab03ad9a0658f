"""A network on a benchmark: maps and scores of every variant and baseline, under the same prompts and protocol.

Images stream: a few are in memory at a time, and only their pixels' scores are kept (see `model.scores`). Sheets show
queries that are predicted once more.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from configs.errors import BadRequest
from configs.evaluate import Evaluate
from configs.model import System
from model.benchmark.baselines import WINCLIP
from model.benchmark.cases import Case, best_and_worst, rate
from model.benchmark.cost import Cost, measure_cost
from model.benchmark.look import methods_of, size_of, variant_names
from model.benchmark.methods import Method, averaged, look_at
from model.benchmark.notes import flips, notes_on
from model.benchmark.prior import read_texts, visual_prior, winclip
from model.benchmark.prompt_choice import (
    Matcher,
    Prompts,
    by_prompts,
    draw_each,
    draw_prompts,
    read_prompts,
    read_top_list,
)
from model.benchmark.protocols import AUPRO, Seen, read_prompt, read_seen, stretch_of
from model.encoders import STRIDES, VisualPrior, read_visual_prior
from model.images import fitted, read_image
from model.kept_memory import keep_freed_memory
from model.layouts import GOOD, Category, read_benchmark
from model.metacan import MetaCAN
from model.metauas import PromptPool
from model.onenip import OneNIP
from model.pictures import Strip, take_turns, to_image
from model.scores import BENCHMARK, BLOCK, Curves, Maps, Row, Tally, over_categories, over_prompts
from model.systems import Network, system_of
from pipeline.progress import track
from pipeline.spread import spread

TIMED_BATCH = 8
SCALE = {  # where that of OneNIP's score maps comes from, by whether the protocol is the paper's
    True: "The scale c of the refined map is made of all queries, as published: it knows the defects.",
    False: "The checkpoint gives no scale c of the refined map; it is made of the benchmark's normal training images.",
}


@dataclass(frozen=True)
class Run:
    """One method under one choice of prompts, on the queries of one category."""

    name: str  # of the method, in tables
    method: Method
    choice: Sequence[Prompts]  # of each query
    tally: Tally


@dataclass
class Outcome:
    """All that is told of a checkpoint on a benchmark."""

    system: System  # of the network
    network: str  # the method that metrics are about: the first variant
    notes: list[str]
    whole: frozenset[str] = frozenset()  # the benchmark's categories, evaluated or not; none if queries were left out
    rows: list[Row] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    curves: Curves = field(default_factory=Curves)
    sheets: dict[str, list[Strip]] = field(default_factory=dict)  # by title


class Evaluation:
    """A network, with what it is compared with, on the categories of a benchmark.

    Args:
        model: in evaluation mode, on its device.
        settings: the section `evaluate`.
        seed: of the drawn prompts.
        device: where to compute.

    Raises:
        BadRequest: the benchmark is not there, parameters do not go together, or the CLIP weights are missing.
        Failure: the benchmark is incomplete.
    """

    def __init__(self, model: Network, settings: Evaluate, seed: int, device: torch.device) -> None:
        self.model = model
        self.name = system_of(model)
        self.variant_names = variant_names(self.name)
        self.settings = settings
        self.seed = seed
        self.device = device
        self.size = size_of(model, settings)
        self.how = stretch_of(settings.protocol, self.name)
        found = read_benchmark(settings.layout, settings.root, settings.lists, max(self.size))
        self.whole = frozenset() if settings.limit else frozenset(category.name for category in found)
        self.categories = _chosen(found, settings)
        self.sizes = {category.name: self._size_of(category) for category in self.categories}
        self.drawn = _drawn(self.categories, settings, seed)
        methods = methods_of(model, settings)
        self.network = methods.pop(self.name)
        self.baselines = methods
        self.clip: VisualPrior | None = None
        if "best+clip" in settings.variants:
            self.clip = read_visual_prior(settings.clip_weights).to(device)
        self.winclip: dict[str, Method] = {}  # by category, whose name its texts say
        if isinstance(model, MetaCAN) and WINCLIP in settings.variants:
            texts = read_texts(settings.clip_weights, [category.name for category in self.categories], model.sizes)
            prior = VisualPrior(model.tower)
            self.winclip = {name: winclip(prior, text.to(device)) for name, text in texts.items()}
        self.pools: list[tuple[PromptPool, list[Path]]] = []
        if "pool" in settings.variants:
            for drawn in self.drawn:
                paths = [path for prompts in drawn.values() for path in prompts]
                self.pools.append((self._matcher(self.size).pool(paths), paths))

    def run(self) -> Outcome:
        """Predict and score everything.

        Raises:
            Failure: an image or mask cannot be read, or a map holds NaN.
        """
        if self.settings.keep_memory:
            keep_freed_memory()
        notes = notes_on(self.model, self.settings, set(self.sizes.values()), self.categories, self.drawn)
        outcome = Outcome(self.name, self.variant_names[self.settings.variants[0]], notes, self.whole)
        own = len({"best", "best+clip"} & set(self.settings.variants)) + len(self.pools)
        own += len(self.drawn) if "each" in self.settings.variants else 0
        images = sum(len(category.queries) for category in self.categories)
        with torch.inference_mode():
            if self._wants_scale():
                paper = self.settings.protocol == "paper"
                outcome.notes.append(SCALE[paper])
                count = images if paper else sum(len(category.normals) for category in self.categories)
                for _ in track(self._calibrate(), "scale of the maps", count):
                    pass
        for _ in track(self._steps(outcome), "evaluate images", images * (1 + own)):
            pass
        outcome.costs = self._costs()
        return outcome

    @torch.inference_mode()
    def _steps(self, outcome: Outcome) -> Iterator[None]:
        """Evaluate category by category; an item for each image predicted."""
        found: list[Case] = []
        repeated: dict[tuple[str, int], list[Row]] = {}  # by method and repetition, a row for each category
        for category in self.categories:
            shared, own = self._runs(category)
            runs = [*shared, *own] if outcome.network == self.name else [*own, *shared]
            main = next(run for run in runs if run.name == outcome.network)
            found += yield from self._predict(category, shared, own, main)
            rows: dict[str, list[Row]] = {}
            for run in runs:
                of_run = rows.setdefault(run.name, [])
                scores = run.tally.scores(AUPRO[self.settings.protocol])
                of_run.append(Row(BENCHMARK, category.name, run.name, len(category.queries), scores))
                repeated.setdefault((run.name, len(of_run)), []).append(of_run[-1])
                if self.settings.protocol == "paper":
                    outcome.notes += flips(of_run[-1], len(of_run))
            outcome.rows += map(over_prompts, rows.values())
            first = {name: next(run.tally for run in runs if run.name == name) for name in rows}  # of several prompts
            outcome.curves.add(first, main.tally)
            places = take_turns([query.defect for query in category.queries], self.settings.sheet_rows, GOOD)
            outcome.sheets[category.name] = [
                self._strip(category, place, main.method, main.choice[place]) for place in places
            ]
        for name in dict.fromkeys(name for name, _ in repeated):
            means = [over_categories(rows) for (own_name, _), rows in repeated.items() if own_name == name]
            outcome.rows.append(over_prompts(means))
        for title, cases in best_and_worst(found, self.settings.sheet_rows).items():
            outcome.sheets[title] = [
                self._strip(case.category, case.place, case.method, case.prompts) for case in cases
            ]

    def _runs(self, category: Category) -> tuple[list[Run], list[Run]]:
        """The runs whose prompts all queries share, and those in which each query has its own."""
        variants, shots = self.settings.variants, self.settings.shots
        methods = ({self.name: self.network} if "one" in variants else {}) | self.baselines
        if self.winclip:
            methods[WINCLIP] = self.winclip[category.name]
        shared = [
            (name, method, [drawn[category.name]] * len(category.queries))
            for drawn in self.drawn
            for name, method in methods.items()
        ]
        names = self.variant_names
        own: list[tuple[str, Method, Sequence[Prompts]]] = []
        if "each" in variants:
            choices = [draw_each(category, self.seed, number, shots) for number in range(len(self.drawn))]
            own += [(names["each"], self.network, choice) for choice in choices]
        if {"best", "best+clip"} & set(variants):
            best = read_top_list(Path(self.settings.lists), category, shots) if self.settings.lists else None
            if best is None:
                normals, matcher = category.normals, self._matcher(self.sizes[category.name])
                best = matcher.match(matcher.pool(normals), normals, category, shots)
            if "best" in variants:
                own.append((names["best"], self.network, best))
            if self.clip is not None:
                own.append((names["best+clip"], averaged([self.network, visual_prior(self.clip)]), best))
        for pool, paths in self.pools:
            matches = self._matcher(self.size).match(pool, paths, category, shots)
            own.append((names["pool"], self.network, matches))
        block = BLOCK // (len(shared) + len(own))  # so that memory does not grow with the number of runs
        return [Run(*one, Tally(block)) for one in shared], [Run(*one, Tally(block)) for one in own]

    def _predict(
        self, category: Category, shared: Sequence[Run], own: Sequence[Run], main: Run
    ) -> Generator[None, None, list[Case]]:
        """Add every query's maps to the runs' tallies; prompts are encoded once for all queries that they serve."""
        rated, size = [], self.sizes[category.name]
        work = [(shared, list(range(len(category.queries))))]
        work += [([run], places) for run in own for places in by_prompts(run.choice)]
        for runs, places in work:
            compares = [(run, run.method(self._prompts(run.choice[places[0]], size))) for run in runs]
            for start in range(0, len(places), self.settings.batch_size):
                some = places[start : start + self.settings.batch_size]
                seen = [read_seen(category.queries[place], size, self.how) for place in some]
                queries = self._to_tensor([one.image for one in seen])
                for run, compare in compares:
                    maps, scores = look_at(compare, queries, self.settings.image_score)
                    self._add(run, category, some, seen, maps, scores)
                    if run is main:
                        for shown, one, score, place in zip(maps, seen, scores, some, strict=True):
                            rating = rate(shown, one, score, is_anomalous=category.queries[place].is_anomalous)
                            rated.append(Case(rating, category, place, run.method, run.choice[place]))
                yield from (None for _ in some)
        return rated

    def _add(
        self,
        run: Run,
        category: Category,
        places: Sequence[int],
        seen: Sequence[Seen],
        maps: Maps,
        scores: npt.NDArray[np.float32],
    ) -> None:
        queries = [category.queries[place] for place in places]
        known = all(one.known for one in seen)
        run.tally.add(
            maps,
            np.stack([one.mask for one in seen]),
            valid=None if known else np.stack([np.full(one.mask.shape, one.known) for one in seen]),
            highest=scores,  # of all pixels, whether or not their truth is known
            labels=np.array([query.is_anomalous for query in queries]),
            names=[f"{query.path} ({run.name})" for query in queries],
        )

    def _strip(self, category: Category, place: int, method: Method, paths: Prompts) -> Strip:
        """Predict one query again: no map is kept while others are scored."""
        size = self.sizes[category.name]
        query, prompts = category.queries[place], self._prompts(paths, size)
        seen = read_seen(query, size, self.how)
        shown, scores = look_at(method(prompts), self._to_tensor([seen.image]), self.settings.image_score)
        label = f"{query.defect}\n{query.path.stem}\nscore {scores[0]:.2f}"
        prompt = prompts[0, 0].permute(1, 2, 0).cpu().numpy()
        return Strip(label, to_image(prompt), to_image(seen.image), seen.mask, shown[0])

    def _wants_scale(self) -> bool:
        """Whether the network's maps need a scale that its checkpoint does not give."""
        network = self.model
        return isinstance(network, OneNIP) and (self.settings.protocol == "paper" or not network.normaliser)

    def _size_of(self, category: Category) -> tuple[int, int]:
        """The sides (H, W) at which a category is looked at, of its first normal image's aspect or of none."""
        if not self.settings.keep_aspect:
            return self.size
        height, width = read_image(category.normals[0]).shape[:2]
        return fitted(self.size, (height, width), STRIDES[-1])

    def _matcher(self, size: tuple[int, int]) -> Matcher:
        assert not isinstance(self.model, MetaCAN), "refused before"
        return Matcher(self.model, size, self.how, self.settings.batch_size)

    def _prompts(self, paths: Prompts, size: tuple[int, int]) -> Tensor:
        """Float32 (K, 1, 3, H, W)."""
        shots = [read_prompt(path, size, self.how) for path in paths]
        return self._to_tensor(shots).unsqueeze(1)

    def _to_tensor(self, images: Sequence[npt.NDArray[np.float32]]) -> Tensor:
        """Float32 (H, W, 3) images as (B, 3, H, W) on the device."""
        return torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).contiguous()

    def _costs(self) -> list[Cost]:
        """What each method costs on this device, its prompt encoded before."""
        tower = self.model.tower if isinstance(self.model, MetaCAN) else self.model.encoder
        modules: dict[str, list[nn.Module]] = {"patchcore": [tower], "levels": [tower]}
        modules |= {self.variant_names[variant]: [self.model] for variant in ("one", "one+patchcore")}
        methods = methods_of(self.model, self.settings)
        parts = {name: (method, modules.get(name, [])) for name, method in methods.items()}
        if self.clip is not None:
            starred = averaged([methods[self.name], visual_prior(self.clip)])
            parts[self.variant_names["best+clip"]] = (starred, [self.model, self.clip])
        batch = min(TIMED_BATCH, self.settings.batch_size)
        return [measure_cost(name, method, own, self.size, batch, self.device) for name, (method, own) in parts.items()]

    def _calibrate(self) -> Iterator[None]:
        """Give the score maps of a OneNIP their scale: from the test set, as published, or from normal images."""
        network = self.model
        assert isinstance(network, OneNIP)
        ends: list[Tensor] = []
        for category in self.categories:
            prompts = self._prompts(self.drawn[0][category.name], self.size)
            prompt = network.encode(prompts[0])
            paper = self.settings.protocol == "paper"
            paths = [query.path for query in category.queries] if paper else list(category.normals)
            for start in range(0, len(paths), self.settings.batch_size):
                some = paths[start : start + self.settings.batch_size]
                queries = self._to_tensor([read_prompt(path, self.size, self.how) for path in some])
                ends.append(torch.stack(network.compare(prompt, network.encode(queries)).error.aminmax()))
                yield from (None for _ in some)
        network.calibrate(ends)


def _chosen(found: Sequence[Category], settings: Evaluate) -> list[Category]:
    categories = {category.name: category for category in found}
    missing = sorted(set(settings.categories or ()) - categories.keys())
    if missing:
        raise BadRequest(f"{settings.root}: no category {missing[0]}; there are {', '.join(categories)}")
    return [_limited(categories[name], settings.limit) for name in settings.categories or categories]


def _limited(category: Category, limit: int | None) -> Category:
    """At most `limit` of a category's queries, evenly spread over its kinds of defect."""
    count = len(category.queries)
    places = spread(count, limit or count)
    return replace(category, queries=tuple(category.queries[place] for place in places))


def _drawn(categories: Sequence[Category], settings: Evaluate, seed: int) -> list[Mapping[str, Prompts]]:
    """The prompts of each category, as often as they are drawn."""
    if settings.prompts is not None:
        if settings.shots != 1:
            raise BadRequest(
                f"evaluate.shots = {settings.shots}, but a file of prompts names one image a category; drop one"
            )
        if settings.seeds != 1:
            raise BadRequest(
                f"evaluate.seeds = {settings.seeds}, but evaluate.prompts names {len(settings.prompts)} files, one for"
                " each repetition; set seeds to 1, or leave the files out"
            )
        return [read_prompts(Path(path), categories) for path in settings.prompts]
    return [
        {category.name: draw_prompts(category, seed, repetition, settings.shots) for category in categories}
        for repetition in range(settings.seeds)
    ]
