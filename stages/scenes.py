"""DVC stage `scenes`: params.yaml -> data/scenes.  Run: dvc repro scenes."""

from pathlib import Path

from configs.errors import run
from configs.scenes import ScenesParams
from configs.section import load
from pipeline.embedded import write_scenes

FOLDER = Path("data/scenes")


def main() -> None:
    """Draw the embedded training images and their annotations."""
    params = load(ScenesParams)
    counts = write_scenes(FOLDER, params.seed, params.scenes.images)
    print(f"{FOLDER}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    run(main)
