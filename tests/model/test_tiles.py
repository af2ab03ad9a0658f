import cv2
import numpy as np
import pytest

from configs.errors import BadRequest, Failure
from model.layouts import read_benchmark
from model.tiles import main


def strip(path, grey=100, width=1024):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((256, width, 3), grey, np.uint8))


def mask(path, columns, width=1024):
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = np.zeros((256, width), np.uint8)
    drawn[100:110, columns] = 255
    cv2.imwrite(str(path), drawn)


@pytest.fixture
def aitex(tmp_path):
    """A defect over two tiles, one of two masks, one without any, an empty mask; and five normal strips."""
    for number in range(1, 5):
        strip(tmp_path / f"Defect_images/000{number}_002_00.png")
    mask(tmp_path / "Mask_images/0001_002_00_mask.png", slice(250, 260))
    mask(tmp_path / "Mask_images/0002_002_00_mask1.png", slice(10, 20))
    mask(tmp_path / "Mask_images/0002_002_00_mask2.png", slice(1000, 1024))
    mask(tmp_path / "Mask_images/0004_002_00_mask.png", slice(0, 0))
    for number in range(5):
        strip(tmp_path / f"NODefect_images/2306881-210020u/000{number}_000_02.png", grey=number)
    return tmp_path


def test_strips_become_a_benchmark_in_mvtec_layout(aitex, capsys):
    assert main(["--root", str(aitex), "--out", str(aitex / "out")]) == 0
    said = capsys.readouterr().out
    assert "left out for want of a mask: 0003_002_00.png" in said
    assert "15 normal tiles to learn from; test 5 normal, 4 not" in said
    (category,) = read_benchmark("mvtec", aitex / "out")
    assert category.name == "aitex"
    assert len(category.normals) == 15
    bad = [query for query in category.queries if query.is_anomalous]
    assert [query.path.name for query in bad] == [
        "0001_002_00_00.png",
        "0001_002_00_01.png",
        "0002_002_00_00.png",
        "0002_002_00_03.png",
    ]
    assert [cv2.imread(str(query.mask_path), -1).sum() // 2550 for query in bad] == [6, 4, 10, 24]
    assert cv2.imread(str(category.normals[0])).shape == (256, 256, 3)


def test_without_strips_or_masks_nothing_is_made(aitex):
    for path in (aitex / "Mask_images").iterdir():
        path.unlink()
    with pytest.raises(Failure, match="no tile of its strips has a pixel of a mask"):
        main(["--root", str(aitex), "--out", str(aitex / "out")])
    assert not (aitex / "out" / "aitex").exists()
    for path in (aitex / "NODefect_images").rglob("*.png"):
        path.unlink()
    with pytest.raises(BadRequest, match="NODefect_images: no strip there; wanted PNGs"):
        main(["--root", str(aitex), "--out", str(aitex / "out")])


def test_what_is_there_is_not_written_over_and_what_is_missing_is_told(aitex):
    (aitex / "out" / "aitex").mkdir(parents=True)
    with pytest.raises(BadRequest, match="aitex is there already"):
        main(["--root", str(aitex), "--out", str(aitex / "out")])
    with pytest.raises(BadRequest, match="no folder defect_images, whatever the case"):
        main(["--root", str(aitex / "Mask_images"), "--out", str(aitex / "new")])
    mask(aitex / "Mask_images/0001_002_00_mask.png", slice(0, 9), width=512)
    with pytest.raises(Failure, match=r"0001_002_00_mask.png: 512 x 256 px, its strip 1024 x 256"):
        main(["--root", str(aitex), "--out", str(aitex / "new")])
