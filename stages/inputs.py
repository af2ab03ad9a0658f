"""DVC stage `inputs`: files and libraries that DVC does not see -> data/inputs.  Run: dvc repro inputs; it always runs.

What params.yaml names by path (weights, lists, prompts) may lie anywhere, or be nothing: DVC cannot depend on it. Here
its content is noted, and the stages depend on the note. Before DVC removes what a stage made, its shards and its run
are put where the stage finds them again.
"""

import hashlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from configs.errors import BadRequest, run
from configs.everything import Everything, MetaCANEverything, OneNIPEverything, load_everything
from configs.model import PIP_WEIGHTS
from pipeline.changes import LAMA_LIBRARIES, check_defects
from pipeline.linked import keep
from pipeline.shards import LIBRARIES, adopt

NOTES = Path("data/inputs")
WORK = Path(".work")
# As in `model.training`, whose import would take longer than all else that is done here.
TRAINING_LIBRARIES = ("torch", "timm", "kornia", "numpy")
CLIP_LIBRARIES = ("open_clip_torch",)
MODELS, PICTURES = Path("models"), Path("reports/train/pictures")
TEXTURES = "synth.local.texture_folder"
LISTS, EVERYTHING = "*.json", "**/*"  # what counts of a folder: of the published lists, and of textures
SHARDS = {"inpaint": Path("data/inpainted"), "synth": Path("data/pairs"), "features": Path("data/features")}


def main() -> None:
    """Note what each stage takes that DVC does not see, and say what has changed."""
    params = load_everything()
    check_defects(params.synth)  # which nothing else asks before the dear step
    for stage, root in SHARDS.items():
        adopt(root, WORK / "shards" / stage)
    _keep_training(params.model.system)
    lama = params.inpaint.filler == "lama"
    evaluate, clip = params.evaluate, params.features.clip
    of_clip = (*TRAINING_LIBRARIES, *(CLIP_LIBRARIES if clip else ()))
    weights = _weights(params)
    wanted: dict[str, tuple[tuple[str, ...], dict[str, str | None]]] = {
        "inpaint": (
            (*LIBRARIES, *(LAMA_LIBRARIES if lama else ())),
            {"inpaint.lama_weights": (params.inpaint.lama_weights or os.environ.get("LAMA_MODEL")) if lama else None},
        ),
        "synth": (LIBRARIES, {TEXTURES: params.synth.local.texture_folder}),
        "features": (of_clip if clip else (), {"features.clip.weights": clip.weights if clip else None}),
        "train": (
            (*of_clip, *([PIP_WEIGHTS[weights][1]] if weights in PIP_WEIGHTS else ())),
            {"model.weights": weights},
        ),
        "evaluate": (
            (*TRAINING_LIBRARIES, *(CLIP_LIBRARIES if evaluate.clip_weights else ())),
            {
                "evaluate.lists": evaluate.lists,
                "evaluate.clip_weights": evaluate.clip_weights,
                **{f"evaluate.prompts.{number}": name for number, name in enumerate(evaluate.prompts or ())},
            },
        ),
    }
    NOTES.mkdir(parents=True, exist_ok=True)
    for stage, (libraries, files) in wanted.items():
        note = {
            "libraries": {library: _version(library) for library in sorted(libraries)},
            "files": {
                parameter: _digest(name, EVERYTHING if parameter == TEXTURES else LISTS)
                for parameter, name in files.items()
                if name
            },
        }
        path = NOTES / f"{stage}.json"
        _tell(stage, json.loads(path.read_text()) if path.is_file() else note, note)
        path.write_text(json.dumps(note, indent=1) + "\n")


def _weights(params: Everything | OneNIPEverything | MetaCANEverything) -> str:
    """What the network begins with: a file, or a name that is none."""
    if not isinstance(params, MetaCANEverything):
        return params.model.weights
    assert params.features.clip is not None, "checked when the parameters were read"
    return params.features.clip.weights


def _keep_training(system: str) -> None:
    model = MODELS / system
    run = model / "run.json"
    if run.is_file():
        folder = WORK / "trainings" / json.loads(run.read_text())["name"]
        keep(model, folder / "model")
        keep(PICTURES, folder / "pictures")


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        raise BadRequest(f"{library} is not installed; run `pip install {library}`") from None


def _digest(name: str, pattern: str) -> str:
    """Hexadecimal sha256 of a file, or of what a folder has of `pattern`; "" for what is no path, such as `none`."""
    path = Path(name)
    files = [file for file in (sorted(path.glob(pattern)) if path.is_dir() else [path]) if file.is_file()]
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
            digest.update(f"{inside} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest() if files else ""


def _tell(stage: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    for what in ("libraries", "files"):
        for name in sorted(before[what].keys() | now[what].keys()):
            old, new = (str(note[what].get(name, "none"))[:12] for note in (before, now))
            if old != new:
                print(f"inputs: {name} is {new}, was {old}: `{stage}` runs again", file=sys.stderr)


if __name__ == "__main__":
    run(main)
