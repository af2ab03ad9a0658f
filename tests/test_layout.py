"""The project's shape: imports go one way, and every DVC stage depends on exactly the code it is made of."""

import ast
import importlib
from pathlib import Path

import pytest
import yaml

from configs.everything import Everything
from configs.section import PARAMETERS, load
from pipeline.provenance import PACKAGES, ROOT, source_files

# Each package may import itself and those below it.
ORDER = ("stages", "model", "pipeline", "configs")
OF_PIPELINE_FOR_MODEL = {"arrays", "progress", "shards", "spread"}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES}


@pytest.mark.parametrize("package", ORDER)
def test_imports_go_one_way(package):
    above = ORDER[: ORDER.index(package)]
    for path in (ROOT / package).rglob("*.py"):
        for name in imported(path):
            assert name.split(".")[0] not in above, f"{path.relative_to(ROOT)} imports {name}"


def test_the_network_side_takes_only_shards_from_the_dataset_side():
    for path in (ROOT / "model").rglob("*.py"):
        taken = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
        assert taken <= OF_PIPELINE_FOR_MODEL, f"{path.relative_to(ROOT)} imports {taken}"


def test_there_is_a_stage_a_file_and_a_section_of_each_name():
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}

    assert set(STAGES) == files
    for stage in STAGES:
        section = getattr(importlib.import_module(f"configs.{stage}"), stage.capitalize())
        assert Everything.model_fields[stage].annotation is section


def test_the_names_of_sections_are_those_of_the_whole_schema():
    assert set(Everything.model_fields) == PARAMETERS


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_code_it_is_made_of(stage):
    declared = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}

    assert declared == {path.as_posix() for path in source_files(f"stages.{stage}")}


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "configs").glob("*.yaml")))
def test_ready_params_files_are_valid_and_say_what_each_value_is_for(file):
    path = ROOT / "configs" / file
    load(Everything, path)

    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if value.strip() and not key.startswith("#"):
            assert "#" in value, f"{file}: {line.strip()} has no comment"


def test_params_yaml_is_the_demo():
    assert (ROOT / "params.yaml").read_text() == (ROOT / "configs" / "demo.yaml").read_text()
