import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import BadRequest, Failure
from configs.index import Data
from pipeline.source.categories import id_of, read_categories
from pipeline.source.index import Index, read_indexed_image
from pipeline.source.index_build import build_index, choose_images, write_index


def draw(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(256, size=(40, 50, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)


def benchmark(root, categories=("nut", "weave"), images=4):
    for place, name in enumerate(categories):
        for number in range(images):
            draw(root / name / "train" / "good" / f"{number:03d}.png", [place, number])
        draw(root / name / "test" / "good" / "000.png", [place, 90])
        draw(root / name / "test" / "crack" / "000.png", [place, 91])
        draw(root / name / "ground_truth" / "crack" / "000_mask.png", [place, 92])
    return root


def index_of(folder, val_share=0.5):
    found = read_categories(folder)
    return build_index(found, folder, choose_images(found.groups, 99, val_share, 0), 0.2)


def names_and_groups(folder):
    return {entry["file_name"]: entry["group"] for entry in read_categories(folder).images.values()}


def test_of_a_benchmark_only_the_normal_training_images_are_taken(tmp_path):
    expected = {f"{name}/train/good/{number:03d}.png": name for name in ("nut", "weave") for number in range(4)}
    assert names_and_groups(benchmark(tmp_path)) == expected


def test_folders_of_photographs_and_other_names_are_known(tmp_path):
    draw(tmp_path / "street" / "a.JPG", 0)
    draw(tmp_path / "01" / "train" / "OK" / "b.bmp", 1)
    draw(tmp_path / "01" / "train" / "ko" / "c.bmp", 2)
    draw(tmp_path / ".cache" / "d.png", 3)
    (tmp_path / "street" / "notes.txt").write_text("no image")

    assert names_and_groups(tmp_path) == {"street/a.JPG": "street", "01/train/OK/b.bmp": "01"}


def test_one_category_alone_is_named_as_its_folder(tmp_path):
    benchmark(tmp_path / "all")
    assert set(names_and_groups(tmp_path / "all" / "nut").values()) == {"nut"}


@given(st.text(min_size=1), st.text(min_size=1))
def test_an_id_is_the_name_s_own_and_exact_in_json(one, other):
    assert 0 <= id_of(one) < 2**48
    assert (id_of(one) == id_of(other)) == (one == other)


def test_the_index_has_of_each_category_the_same_share_for_val_however_alike_they_look(tmp_path):
    folder = benchmark(tmp_path / "all")
    image = np.full((40, 50, 3), 90, np.uint8)
    for number in range(4):
        image[number, 0] = 91  # another file, hardly another look
        cv2.imwrite(str(folder / "nut" / "train" / "good" / f"{number:03d}.png"), image)

    summary = write_index(tmp_path / "index", index_of(folder))

    assert summary["groups"] == {"nut": {"train": 2, "val": 2}, "weave": {"train": 2, "val": 2}}
    index = Index(tmp_path / "index")
    assert index.groups == ["nut", "weave"]
    for row in range(len(index)):
        image = index.image(row)
        assert image.file.startswith(image.group)
        assert read_indexed_image(folder, image).shape == (40, 50, 3)
        assert index.instances(row) == []


def test_a_category_more_moves_no_image_of_the_others(tmp_path):
    few = index_of(benchmark(tmp_path / "few"))
    many = index_of(benchmark(tmp_path / "many", ("nut", "screw", "weave")))

    places = {row.file: (row.image_id, row.split, row.rank) for row in many.rows}
    assert all(places[row.file] == (row.image_id, row.split, row.rank) for row in few.rows)


def test_a_category_with_too_few_images_is_named(tmp_path):
    folder = benchmark(tmp_path)
    draw(folder / "screw" / "train" / "good" / "000.png", 5)
    with pytest.raises(
        BadRequest, match=r"of 1 images of category screw, of index\.images = 99 in all, leaves 0 for val"
    ):
        index_of(folder, 0.25)


def test_a_category_whose_val_images_cannot_be_read_is_named(tmp_path):
    folder = benchmark(tmp_path)
    (spoilt,) = [row.file for row in index_of(folder, 0.25).rows if row.split == "val" and row.group == "nut"]
    (folder / spoilt).write_bytes(b"")
    with pytest.raises(Failure, match="3 images of category nut that can be used leave a split empty"):
        index_of(folder, 0.25)


def test_hidden_files_are_no_images_and_a_category_may_be_called_all(tmp_path):
    folder = benchmark(tmp_path, ("all",))
    image = np.full((40, 50, 3), 90, np.uint8)
    for number in range(4):
        image[number, 0] = 91  # as alike as can be
        path = folder / "all" / "train" / "good" / f"{number:03d}.png"
        cv2.imwrite(str(path), image)
        path.with_name(f"._{path.name}").write_bytes(b"of another system")
    assert {(row.group, row.split) for row in index_of(folder).rows} == {("all", "train"), ("all", "val")}


def test_what_could_be_read_in_two_ways_is_refused(tmp_path):
    folder = benchmark(tmp_path / "mixed")
    draw(folder / "overview.png", 7)
    with pytest.raises(BadRequest, match=r"holds images and folders of images, such as overview\.png and nut"):
        read_categories(folder)
    for name in ("train", "test"):
        draw(tmp_path / "flat" / name / "a.png", 8)
    with pytest.raises(BadRequest, match=r"flat/train: no folder good or ok there; wanted .*/train/good/\*\.png"):
        read_categories(tmp_path / "flat")
    draw(tmp_path / "odd" / "nut" / "train" / "normal" / "a.png", 9)
    with pytest.raises(BadRequest, match="nut/train: no folder good or ok"):
        read_categories(tmp_path / "odd")


@pytest.mark.parametrize(("name", "said"), [("none", "no such folder"), ("", "no normal images; wanted")])
def test_a_folder_without_images_is_one_line(tmp_path, name, said):
    with pytest.raises(BadRequest, match=said):
        read_categories(tmp_path / name)


def test_a_source_of_categories_has_no_annotations():
    with pytest.raises(ValueError, match="layout categories has no annotations"):
        Data(layout="categories", images="mvtec", annotations="mvtec/instances.json")
