"""Laws of the embedded benchmark: a flaw changes what its mask says and nothing else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.embedded.parts import PART_CATEGORIES, Job, draw_part, plan_parts, write_parts

SEED = 5
SIDE_PX = 128
FLAWS = [(name, flaw) for name, category in PART_CATEGORIES.items() for flaw in category.flaws]


@pytest.mark.parametrize(("category", "flaw"), FLAWS)
@pytest.mark.parametrize("number", [0, 1])
def test_a_flaw_changes_its_mask_and_nothing_else(category: str, flaw: str, number: int) -> None:
    job = Job(category, "test", flaw, number)
    flawed, mask = draw_part(job, SEED, SIDE_PX)
    flawless, empty = draw_part(job, SEED, SIDE_PX, flawless=True)

    np.testing.assert_array_equal(flawed[~mask], flawless[~mask])
    difference = np.abs(flawed.astype(int) - flawless).max(axis=2)[mask]
    # Closed pinholes and white clipped to 255 may stay as they were.
    assert (difference > 0).mean() > 0.8
    assert np.median(difference) > 12
    assert 0.002 <= mask.mean() < 0.15
    assert not empty.any()


@pytest.mark.parametrize("category", PART_CATEGORIES)
def test_good_parts_differ_from_each_other(category: str) -> None:
    first, second = (draw_part(Job(category, "train", "good", number), SEED, SIDE_PX)[0] for number in (0, 1))
    in_test, _ = draw_part(Job(category, "test", "good", 0), SEED, SIDE_PX)

    assert np.abs(first.astype(int) - second).mean() > 2
    assert np.abs(first.astype(int) - in_test).mean() > 2


@pytest.mark.parametrize("category", PART_CATEGORIES)
def test_a_part_depends_on_seed_and_place_alone(category: str) -> None:
    job = Job(category, "test", PART_CATEGORIES[category].flaws[0], 3)
    first, second, other = (draw_part(job, seed, SIDE_PX) for seed in (SEED, SEED, SEED + 1))

    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_every_category_has_several_flaws() -> None:
    assert len({flaw for _, flaw in FLAWS}) >= 4
    assert all(len(category.flaws) >= 3 for category in PART_CATEGORIES.values())


def test_the_plan_spreads_flaws_evenly() -> None:
    jobs = plan_parts(train_images=2, good_images=3, defect_images=7)

    for name, category in PART_CATEGORIES.items():
        counts = [sum(job.category == name and job.kind == flaw for job in jobs) for flaw in category.flaws]
        assert sum(counts) == 7
        assert max(counts) - min(counts) <= 1
        assert sum(job[:3] == (name, "train", "good") for job in jobs) == 2
        assert sum(job[:3] == (name, "test", "good") for job in jobs) == 3
    assert len(set(jobs)) == len(jobs)


def test_files_lie_as_in_mvtec(tmp_path: Path) -> None:
    (tmp_path / "parts" / "stale").mkdir(parents=True)
    jobs = [job for job in plan_parts(1, 1, 5) if job.category == "nut"]
    write_parts(tmp_path / "parts", jobs, SEED, 64)

    root = tmp_path / "parts" / "nut"
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["nut"]
    assert (root / "train" / "good" / "000.png").exists()
    assert (root / "test" / "good" / "000.png").exists()
    assert {path.name for path in (root / "ground_truth").iterdir()} == set(PART_CATEGORIES["nut"].flaws)
    for path in root.glob("ground_truth/*/*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        image = cv2.imread(str(root / "test" / path.parent.name / path.name.replace("_mask", "")))
        assert mask.dtype == np.uint8
        assert mask.shape == image.shape[:2] == (64, 64)
        assert set(np.unique(mask)) == {0, 255}


def test_written_files_hold_what_is_drawn_alone(tmp_path: Path) -> None:
    job = Job("weave", "test", "stain", 1)
    write_parts(tmp_path / "parts", [job._replace(number=0), job], SEED, 64, workers=1)

    image, mask = draw_part(job, SEED, 64)
    written = cv2.imread(str(tmp_path / "parts/weave/test/stain/001.png"))
    np.testing.assert_array_equal(cv2.cvtColor(written, cv2.COLOR_BGR2RGB), image)
    written_mask = cv2.imread(str(tmp_path / "parts/weave/ground_truth/stain/001_mask.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written_mask > 0, mask)
