"""What an artifact was made from: the meaning of the project's code behind it, and the libraries that shape the pixels.

A comment, a docstring, the layout of a line or the words of an error are no meaning, and neither is what only shows or
schedules the work (NOT_OF_THE_RESULT): none of these makes anything again.
"""

import ast
import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from configs.errors import Failure

STARTED = time.time()  # of this process, nearly: its code is that of files as they were then
ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("configs", "pipeline", "model", "stages")
LIBRARIES = ("numpy", "opencv-python", "noise", "pycocotools")  # which shape the pixels
CODECS = ("numcodecs", "zarr", "zarrs")  # which only store them
NOT_OF_THE_RESULT = (
    "configs",  # which values are allowed; the values are kept beside the digest
    "pipeline.cluster",  # where the work is done
    "pipeline.progress",
    "pipeline.shards.cache",
    "pipeline.shards.provenance",
    "pipeline.shards.store",  # where it is kept
    "pipeline.steps",  # how long it takes
)


def made_by(module: str, further: Sequence[str] = ()) -> dict[str, Any]:
    """The code behind a module's results and the versions of LIBRARIES and `further` ones, as its artifacts keep it."""
    return {
        "code": {"version": version("metauas-pipeline"), "module": module, "sha256": code_digest(module)},
        "libraries": {library: version_of(library) for library in sorted({*LIBRARIES, *further})},
    }


@cache
def version_of(library: str) -> str:
    """The version of a library when this process first asked: what is installed later is not what it has loaded."""
    return version(library)


for _library in LIBRARIES:
    version_of(_library)  # a worker asks when its first job imports this, and numpy


def refuse_other_code(attributes: Mapping[str, Any]) -> None:
    """Hold this process against what a job says it is made by, in the `attributes` of its shard.

    Raises:
        Failure: this process runs other code or libraries, as one does that stood since before they were changed.
    """
    said = made_by(attributes["code"]["module"], tuple(attributes["libraries"]))
    what_to_do = "restart the workers, and run the same command again; what is finished is kept"
    if said["libraries"] != attributes["libraries"]:
        raise Failure(f"this worker has libraries {said['libraries']}, the job {attributes['libraries']}; {what_to_do}")
    if said["code"] != attributes["code"]:
        own, its = said["code"]["sha256"][:12], attributes["code"]["sha256"][:12]
        raise Failure(f"this worker runs other code ({own}) than the job is of ({its}); {what_to_do}")
    changed = _changed_since(STARTED, attributes["code"]["module"])
    if changed:
        raise Failure(f"{changed[0]} was changed after this worker had started; {what_to_do}")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Facts of this machine on which pixels may depend beyond `made_by`: kind of processor, build of OpenCV, device."""
    config: Any = np.show_config
    simd = config(mode="dicts")["SIMD Extensions"]
    return {
        "processor": platform.machine(),
        "numpy_simd": simd["found"][-1] if simd["found"] else simd["baseline"][-1],
        "opencv_build": hashlib.sha256(cv2.getBuildInformation().encode()).hexdigest()[:16],
        "device": device,
        **{library: version(library) for library in CODECS},
    }


@cache
def code_digest(module: str, left_out: tuple[str, ...] = ()) -> str:
    """Hexadecimal sha256 over the meaning of `module` and of all that it imports of this project, step by step.

    Modules that `left_out` names, and those of NOT_OF_THE_RESULT, are left out, with what they alone import.
    """
    digest = hashlib.sha256()
    for path in source_files(module, left_out):
        digest.update(f"{path.as_posix()}\n{meaning((ROOT / path).read_bytes())}\n".encode())
    return digest.hexdigest()


def source_files(module: str, left_out: tuple[str, ...] = ()) -> list[Path]:
    """The files behind a module's results: its own and, through any number of steps, those it imports.

    A name that is imported through a room's door leads to the file that defines it. Paths are relative to ROOT, sorted.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None or name in found or _is_within(name, (*NOT_OF_THE_RESULT, *left_out)):
            continue
        found[name] = path
        waiting += [*imports(path), name.split(".")[0]]  # importing a.b.c runs a/__init__.py
    return sorted(path.relative_to(ROOT) for path in found.values())


def meaning(source: bytes | str) -> str:
    """Python source without comments, docstrings, layout and what raised errors say."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
    return ast.unparse(tree)


def fingerprint(content: Mapping[str, Any]) -> str:
    """Hexadecimal sha256 of a JSON-like mapping, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def file_of(module: str) -> Path | None:
    """The file of a module of this project; None for other modules and for names inside a module."""
    if module.split(".")[0] not in PACKAGES:
        return None
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def imports(path: Path) -> Iterator[str]:
    """The modules of this project that a file takes something from, wherever in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if file_of(alias.name))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            yield from (_defining(node.module, alias.name) for alias in node.names)


def _defining(module: str, name: str) -> str:
    """The module behind `from module import name`: a module itself, or the one that a door has the name from."""
    if file_of(f"{module}.{name}"):
        return f"{module}.{name}"
    path = file_of(module)
    if path is not None and path.name == "__init__.py":
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.ImportFrom) and node.module and name in {a.asname or a.name for a in node.names}:
                return node.module
    return module


@cache
def _changed_since(moment: float, module: str) -> list[Path]:
    """The files behind a module that were written after a moment, as they stand when this is first asked."""
    return [path for path in source_files(module) if (ROOT / path).stat().st_mtime > moment]


def _is_within(module: str, names: Sequence[str]) -> bool:
    return any(f"{module}.".startswith(f"{name}.") for name in names)


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    return ast.get_docstring(node, clean=False)
