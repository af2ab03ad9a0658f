"""What an artifact was made from: the project's code behind a module, and the libraries that shape the pixels."""

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("configs", "pipeline", "model", "stages")
LIBRARIES = ("numpy", "opencv-python", "noise", "numcodecs", "pycocotools", "zarr", "zarrs")


def source_files(module: str) -> list[Path]:
    """The project's files that `module` is made of: its own and, through any number of steps, those it imports.

    Paths are relative to the project's root and sorted. dvc.yaml names exactly these as the `deps` of a stage.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if name not in found and path is not None:
            found[name] = path
            waiting += [".".join(name.split(".")[:-1])] if "." in name else []  # importing a.b runs a/__init__.py
            waiting += _imports(path)
    return sorted(path.relative_to(ROOT) for path in found.values())


@cache
def code_digest(module: str) -> str:
    """Hexadecimal sha256 over the files of `source_files`."""
    digest = hashlib.sha256()
    for path in source_files(module):
        digest.update(f"{path.as_posix()}\n".encode())
        digest.update(hashlib.sha256((ROOT / path).read_bytes()).digest())
    return digest.hexdigest()


def provenance(stage: str) -> dict[str, Any]:
    """The code and library versions behind a stage, as kept in its artifacts."""
    return {
        "code": {"version": version("metauas-pipeline"), "sha256": code_digest(f"stages.{stage}")},
        "libraries": {library: version(library) for library in LIBRARIES},
    }


def fingerprint(content: Mapping[str, Any]) -> str:
    """Hexadecimal sha256 of a JSON-like mapping, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _file_of(module: str) -> Path | None:
    """The file of a module of this project; None for other modules and for names inside a module."""
    if module.split(".")[0] not in PACKAGES:
        return None
    base = ROOT.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
