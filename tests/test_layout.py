"""The house: its rooms and the order in which they may import each other, their doors, and what DVC's stages name."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from configs.everything import Everything, load_everything
from configs.section import PARAMETERS
from model.training.run import NOT_OF_THE_RESULT as NOT_OF_A_TRAINING
from pipeline.shards.provenance import NOT_OF_THE_RESULT, PACKAGES, ROOT, file_of, source_files

# From the ground up. A room may import itself and what stands before it in this list; CONTRIBUTING.md draws it.
ORDER = (
    "configs",
    "pipeline.arrays",
    "pipeline.linked",
    "pipeline.spread",
    "pipeline.progress",
    "pipeline.steps",
    "pipeline.sheet",
    "pipeline.source",
    "pipeline.shards",
    "pipeline.changes",
    "pipeline.records",
    "pipeline.cluster",
    "pipeline.publish",
    "pipeline.embedded",
    "pipeline.browse",
    "pipeline.versions",
    "pipeline.inspect",
    "pipeline.prune",
    "pipeline.export",
    "model.torchvision_ops",
    "model.scores",
    "model.images",
    "model.layouts",
    "model.kept_memory",
    "model.pictures",
    "model.encoders",
    "model.metauas",
    "model.onenip",
    "model.metacan",
    "model.systems",
    "model.fast",
    "model.pairs",
    "model.features",
    "model.training",
    "model.benchmark",
    "model.report",
    "model.inference",
    "model.page",
    "model.predict",
    "model.evaluate",
    "model.export",
    "model.card",
    "model.weights",
    "model.tiles",
    "model.app",
    "model.anomalib",
    "stages",
)
# The network side takes only shards from the dataset side, and what both stand on.
OF_PIPELINE_FOR_MODEL = {
    "pipeline.arrays",
    "pipeline.linked",
    "pipeline.progress",
    "pipeline.shards",
    "pipeline.spread",
}
# But for the page, whose second tab looks at pairs; other tabs do without what that takes.
OF_PIPELINE_FOR_PAGE = OF_PIPELINE_FOR_MODEL | {"pipeline.browse", "pipeline.sheet"}
# Modules that a room's door leaves out, for what they would bring along; they are named whole.
SIDE_DOORS = {"model.benchmark.pair_scores": "pairs and shards, which a benchmark of images does without"}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ALWAYS_RUN = {name for name, stage in STAGES.items() if stage.get("always_changed")}
DOORS = sorted(
    f"{path.parent.parent.name}.{path.parent.name}"
    for package in ("pipeline", "model")
    for path in (ROOT / package).glob("*/__init__.py")
)


def files_of(room: str) -> list[Path]:
    path = ROOT.joinpath(*room.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@cache
def imported(path: Path) -> frozenset[str]:
    """The project's modules that a file names, doors as doors."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in within if file_of(name)} or {str(node.module)}
    return frozenset(name for name in names if name.split(".")[0] in PACKAGES)


def room_of(module: str) -> str:
    return next((room for room in ORDER if f"{module}.".startswith(f"{room}.")), module)


def rooms_behind(module: str) -> set[str]:
    """The rooms that Python runs, or reads a part of, when it imports a module."""
    found: set[str] = set()
    waiting = [module]
    seen = set()
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None or name in seen:
            continue
        seen.add(name)
        found.add(room_of(name))
        waiting += [*imported(path), name.split(".")[0]]
        waiting += [door for door in DOORS if name.startswith(f"{door}.")]  # importing a.b.c runs a/b/__init__.py
    return found


def all_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def test_every_file_is_in_a_room_or_beside_the_rooms():
    packages = {"pipeline", "model", "stages", "configs"}
    for path in all_files():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        assert module in packages or room_of(module) in ORDER, f"{path.relative_to(ROOT)}: name its room in ORDER"


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_what_stands_before_it(room):
    allowed = set(ORDER[: ORDER.index(room) + 1])
    for path in files_of(room):
        found = {room_of(name) for name in imported(path)}
        assert found <= allowed, f"{path.relative_to(ROOT)} imports {found - allowed}"
        if room.startswith("model"):
            taken = {name for name in found if name.startswith("pipeline")}
            may_take = OF_PIPELINE_FOR_PAGE if room == "model.page" else OF_PIPELINE_FOR_MODEL
            assert taken <= may_take, f"{path.relative_to(ROOT)} imports {taken}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_s_own_file_only_says_what_it_is_for(package):
    docstring, *rest = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert not rest or package == "model"  # which readies torch before anything imports it, and is a stage's dep


def test_nothing_of_this_project_is_imported_by_its_name_as_text():
    for path in all_files():
        assert not re.search(rf"import_module\(\W*({'|'.join(PACKAGES)})\b", path.read_text()), path


KNOWN_FUNCTIONS = {"section.py": {"load", "explain"}, "everything.py": {"load_everything"}, "errors.py": {"run"}}


def test_configs_hold_types_and_what_reads_them_and_compute_nothing():
    for path in (ROOT / "configs").glob("*.py"):
        functions = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}
        public = {name for name in functions if not name.startswith("_")}
        assert public <= KNOWN_FUNCTIONS.get(path.name, set()), path


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_measurement_can_be_started(path):
    importlib.import_module(f"benchmarks.{path.stem}")


COMMANDS = ("predict", "evaluate", "export", "weights", "tiles", "app")
OF_COMMANDS = f"import sys\nfor name in {COMMANDS}:\n    __import__(f'model.{{name}}')\nprint(*sys.modules)"


def test_what_uses_a_trained_network_takes_nothing_that_is_installed_for_making_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {extra: {name_of(one) for one in own} for extra, own in project["optional-dependencies"].items()}
    plain = {name_of(one) for one in project["dependencies"]}
    found = subprocess.run([sys.executable, "-c", OF_COMMANDS], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    belongs = packages_distributions()
    taken = {name_of(of) for module in found.stdout.split() for of in belongs.get(module, ())}
    assert plain <= taken, "what none of them needs is an extra's"
    for extra in ("data", "synth", "train", "app", "clip", "onnx", "s3"):
        assert not (named[extra] - plain - {"metauas-pipeline"}) & taken, (
            f"{extra}: taken by a command that does without it"
        )


def name_of(requirement):
    return re.split(r"[<>=!\[; ]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("room", DOORS)
def test_a_door_says_what_its_room_is_for_and_hands_on_names_of_its_own(room):
    path = file_of(room)
    docstring, *body = ast.parse(path.read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert docstring.value.value.count(". ") == 0
    assert docstring.value.value.endswith(".")
    *handed, names = body
    assert all(isinstance(node, ast.ImportFrom) and node.module.startswith(f"{room}.") for node in handed)
    exported = {alias.name for node in handed for alias in node.names}
    assert isinstance(names, ast.Assign)
    assert set(ast.literal_eval(names.value)) == exported
    modules = {path.stem for path in files_of(room)}
    assert not exported & modules, "a name that is a module's too would hide it"


def test_other_rooms_are_entered_by_their_doors():
    for path in all_files():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for name in imported(path):
            door = next((door for door in DOORS if name.startswith(f"{door}.")), None)
            inside = door is None or f"{module}.".startswith(f"{door}.")
            assert inside or name in SIDE_DOORS, f"{path.relative_to(ROOT)} imports {name}; wanted {door}"


@pytest.mark.parametrize("room", DOORS)
def test_every_name_that_a_door_hands_on_is_taken_by_somebody(room):
    texts = [
        path.read_text()
        for path in (*all_files(), *(ROOT / "benchmarks").rglob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
        if not path.is_relative_to(ROOT.joinpath(*room.split(".")))
    ]
    taken = " ".join(re.findall(rf"from {room}(?:\.\w+)? import \(?([^()]*?)(?:\)|\n(?!    ))", "\n".join(texts)))
    for name in importlib.import_module(room).__all__:
        assert re.search(rf"\b{name}\b", taken), f"{room}: nobody takes {name}"


def test_contributing_draws_the_rooms_in_their_order():
    drawn = re.search(r"```\n(stages.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    for package in ("pipeline", "model"):
        part = drawn[drawn.index(f"{package}/") :]
        places = [part.index(f" {room.split('.')[1]} ") for room in ORDER if room in DOORS and room.startswith(package)]
        assert places == sorted(places, reverse=True), "drawn from the top down"


def test_there_is_a_stage_a_file_and_a_section_of_each_name():
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}

    assert set(STAGES) == files
    for stage in set(STAGES) - ALWAYS_RUN:  # which read all of params.yaml, and have no section of their own
        section = getattr(importlib.import_module(f"configs.{stage}"), stage.capitalize())
        assert Everything.model_fields[stage].annotation is section


def test_the_names_of_sections_are_those_of_the_whole_schema():
    assert set(Everything.model_fields) == PARAMETERS


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage not in ALWAYS_RUN])
def test_a_stage_depends_on_exactly_the_rooms_it_imports(stage):
    # configs only says which values are allowed, and the values are a stage's `params`; progress and
    # steps only show.
    shown = {"pipeline.progress", "pipeline.steps"}
    rooms = rooms_behind(f"stages.{stage}") - {"configs", "pipeline", "stages"} - shown
    wanted = {f"stages/{stage}.py"} | {file_or_folder(room) for room in rooms}
    declared = {dep for dep in STAGES[stage]["deps"] if dep.split("/")[0] in PACKAGES}
    assert declared == wanted


def file_or_folder(room: str) -> str:
    path = room.replace(".", "/")
    if room in PACKAGES:
        return f"{path}/__init__.py"
    return path if (ROOT / path).is_dir() else f"{path}.py"


# What a change of makes the results again. A file more or less is looked at here by whoever adds it.
BEHIND = {
    "pipeline.changes.inpaint": """
        pipeline/__init__ pipeline/arrays pipeline/changes/fillers pipeline/changes/inpaint pipeline/changes/removal
        pipeline/changes/visible pipeline/shards/chunks pipeline/shards/format pipeline/shards/jobs
        pipeline/shards/writer pipeline/source/images pipeline/source/index pipeline/source/masks
        pipeline/source/run_lengths
    """,
    "pipeline.changes.synth": """
        pipeline/__init__ pipeline/arrays pipeline/changes/blending pipeline/changes/blob pipeline/changes/change
        pipeline/changes/cutpaste pipeline/changes/defects pipeline/changes/dent pipeline/changes/facts
        pipeline/changes/gloss pipeline/changes/ground pipeline/changes/local pipeline/changes/numbers
        pipeline/changes/paste pipeline/changes/perlin pipeline/changes/poisson pipeline/changes/removal
        pipeline/changes/repeat pipeline/changes/sources pipeline/changes/stain pipeline/changes/stroke
        pipeline/changes/surface pipeline/changes/synth pipeline/changes/texture pipeline/changes/texture_folder
        pipeline/changes/variation pipeline/changes/visible pipeline/shards/chunk_reader pipeline/shards/chunks
        pipeline/shards/format pipeline/shards/jobs pipeline/shards/opened pipeline/shards/writer pipeline/source/coco
        pipeline/source/images pipeline/source/index pipeline/source/masks pipeline/source/rights
        pipeline/source/run_lengths
    """,
    "model.training.metauas": """
        model/__init__ model/encoders/backbone model/encoders/efficientnet_pytorch model/encoders/pip_weights
        model/encoders/weight_files model/fast/folding model/metauas/alignment model/metauas/decoder model/metauas/fpn
        model/metauas/loss model/metauas/metadata model/metauas/network model/metauas/published model/pairs/dataset
        model/pairs/views model/scores/blocks model/scores/keys model/scores/metrics model/scores/totals
        model/torchvision_ops model/training/checkpoints model/training/devices model/training/feed model/training/held
        model/training/learner model/training/loop model/training/metauas model/training/pixel_ap model/training/places
        model/training/plan model/training/run model/training/run_state model/training/validate pipeline/__init__
        pipeline/shards/chunk_reader pipeline/shards/chunks pipeline/shards/format pipeline/shards/opened
        pipeline/spread
    """,
    "model.training.onenip": """
        model/__init__ model/encoders/backbone model/encoders/efficientnet_pytorch model/encoders/pip_weights
        model/encoders/weight_files model/metauas/published model/onenip/checkpoint model/onenip/learning
        model/onenip/network model/onenip/published model/onenip/reconstruction model/onenip/refiner
        model/onenip/scoring model/onenip/transformer model/pairs/dataset model/pairs/views model/scores/blocks
        model/scores/keys model/scores/metrics model/scores/totals model/torchvision_ops model/training/checkpoints
        model/training/devices model/training/feed model/training/held model/training/learner model/training/loop
        model/training/normals model/training/onenip model/training/pixel_ap model/training/places model/training/plan
        model/training/run model/training/run_state pipeline/__init__ pipeline/shards/chunk_reader
        pipeline/shards/chunks pipeline/shards/format pipeline/shards/opened pipeline/spread
    """,
    "model.features.extract": """
        model/__init__ model/encoders/clip model/encoders/weight_files model/features/extract model/features/items
        model/images model/metacan/images model/metacan/tokens model/torchvision_ops pipeline/__init__ pipeline/arrays
        pipeline/shards/chunks pipeline/shards/features pipeline/shards/format pipeline/shards/jobs
        pipeline/shards/opened pipeline/shards/writer
    """,
    "model.training.metacan": """
        model/__init__ model/encoders/clip model/encoders/weight_files model/features/episodes model/features/items
        model/metacan/checkpoint model/metacan/comparison model/metacan/detector model/metacan/discriminator
        model/metacan/images model/metacan/meta model/metacan/network model/metacan/recipe model/metacan/text
        model/metacan/tokens model/scores/blocks model/scores/keys model/scores/metrics model/scores/totals
        model/torchvision_ops model/training/checkpoints model/training/metacan model/training/places
        model/training/run_state pipeline/__init__ pipeline/arrays pipeline/shards/chunks pipeline/shards/features
        pipeline/shards/format pipeline/shards/opened pipeline/shards/writer
    """,
}
LEFT_OUT = {
    "model.training.metauas": NOT_OF_A_TRAINING,
    "model.training.onenip": NOT_OF_A_TRAINING,
    "model.training.metacan": NOT_OF_A_TRAINING,
}


@pytest.mark.parametrize("module", BEHIND)
def test_the_files_behind_a_result_are_these(module):
    assert [path.with_suffix("").as_posix() for path in source_files(module, LEFT_OUT.get(module, ()))] == (
        BEHIND[module].split()
    )


@pytest.mark.parametrize("module", [*NOT_OF_THE_RESULT, *NOT_OF_A_TRAINING])
def test_what_is_no_part_of_a_result_is_there(module):
    assert file_of(module) is not None


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_ready_params_files_are_valid_and_say_what_each_value_is_for(file):
    path = ROOT / "configs" / file
    load_everything(path)

    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if value.strip() and not key.startswith("#"):
            assert "#" in value, f"{file}: {line.strip()} has no comment"


def test_params_yaml_is_the_demo():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "configs" / "demo.yaml").read_text()
