"""What an artifact was made from: the meaning of the project's code behind it, and the libraries that shape the pixels.

A comment, a docstring or the layout of a line is no meaning, and neither is what only shows or schedules the work
(NOT_OF_THE_RESULT): none of these makes anything again.
"""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("configs", "pipeline", "model", "stages")
LIBRARIES = ("numpy", "opencv-python", "noise", "numcodecs", "pycocotools", "zarr", "zarrs")
NOT_OF_THE_RESULT = (
    "configs",  # which values are allowed; the values are kept beside the digest
    "pipeline.cluster",  # where the work is done
    "pipeline.progress",
    "pipeline.shards.provenance",
    "pipeline.shards.store",  # where it is kept
    "model.pictures",
    "model.training.display",
    "model.training.live_curves",
    "model.training.sheets",
)


def made_by(module: str) -> dict[str, Any]:
    """The code behind a module's results, and the library versions, as kept in its artifacts."""
    return {
        "code": {"version": version("metauas-pipeline"), "module": module, "sha256": code_digest(module)},
        "libraries": {library: version(library) for library in LIBRARIES},
    }


@cache
def code_digest(module: str) -> str:
    """Hexadecimal sha256 over the meaning of `module` and of all that it imports of this project, step by step."""
    digest = hashlib.sha256()
    for path in source_files(module):
        digest.update(f"{path.as_posix()}\n{meaning((ROOT / path).read_bytes())}\n".encode())
    return digest.hexdigest()


def source_files(module: str) -> list[Path]:
    """The files behind a module's results: its own and, through any number of steps, those it imports.

    A name that is imported through a room's door leads to the file that defines it. Paths are relative to ROOT, sorted.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = file_of(name)
        if path is None or name in found or _is_left_out(name):
            continue
        found[name] = path
        waiting += imports(path)
    return sorted(path.relative_to(ROOT) for path in found.values())


def meaning(source: bytes | str) -> str:
    """Python source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
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


def _is_left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in NOT_OF_THE_RESULT)


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str | None:
    return ast.get_docstring(node, clean=False)
