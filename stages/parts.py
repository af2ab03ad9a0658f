"""DVC stage `parts`: params.yaml -> data/parts.  Run: dvc repro parts."""

from pathlib import Path

from configs.errors import run
from configs.parts import PartsParams
from configs.section import load
from pipeline.embedded import PART_CATEGORIES, plan_parts, write_parts

FOLDER = Path("data/parts")


def main() -> None:
    """Draw the embedded anomaly benchmark."""
    params = load(PartsParams)
    counts = params.parts
    jobs = plan_parts(counts.train_images, counts.good_images, counts.defect_images)
    write_parts(FOLDER, jobs, params.seed, counts.side_px)
    print(f"{FOLDER}: {len(jobs)} images of {', '.join(PART_CATEGORIES)}")


if __name__ == "__main__":
    run(main)
