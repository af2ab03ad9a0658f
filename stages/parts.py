"""DVC stage `parts`: params.yaml -> data/parts.  Run: dvc repro parts."""

from pathlib import Path

from configs.errors import run
from configs.parts import PartsParams
from configs.section import load
from pipeline.parts import CATEGORIES, plan, write_parts

FOLDER = Path("data/parts")


def main() -> None:
    """Draw the embedded anomaly benchmark."""
    params = load(PartsParams)
    counts = params.parts
    jobs = plan(counts.train_images, counts.good_images, counts.defect_images)
    write_parts(FOLDER, jobs, params.seed, counts.side_px)
    print(f"{FOLDER}: {len(jobs)} images of {', '.join(CATEGORIES)}")


if __name__ == "__main__":
    run(main)
