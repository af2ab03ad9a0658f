import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from configs.errors import BadRequest, Failure
from model.layouts import GOOD, Query, check_against_lists, quarter, read_benchmark, read_folders


def write(path, pixels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 10, 3), 128, np.uint8) if pixels is None else pixels)
    return path


def read_mvtec(root):
    return read_benchmark("mvtec", root)


@pytest.fixture
def root(tmp_path):
    """Two categories; `screw` names its masks <stem>_mask.png, `nut` <stem>.png."""
    for category, mask_name in (("screw", "000_mask.png"), ("nut", "000.png")):
        write(tmp_path / category / "train/good/000.png")
        write(tmp_path / category / "train/good/001.JPG")
        write(tmp_path / category / "test/good/000.jpeg")
        write(tmp_path / category / "test/cut/000.bmp")
        write(tmp_path / category / "ground_truth/cut" / mask_name, np.eye(8, 10, dtype=np.uint8) * 255)
    return tmp_path


@pytest.fixture
def visa(tmp_path):
    for name in ("Data/Images/Normal/0.JPG", "Data/Images/Normal/1.JPG", "Data/Images/Anomaly/0.JPG"):
        write(tmp_path / "candle" / name)
    write(tmp_path / "candle/Data/Masks/Anomaly/0.png")
    rows = [
        ["object", "split", "label", "image", "mask"],
        ["candle", "train", "normal", "candle/Data/Images/Normal/0.JPG", ""],
        ["candle", "test", "normal", "candle/Data/Images/Normal/1.JPG", ""],
        ["candle", "test", "anomaly", "candle/Data/Images/Anomaly/0.JPG", "candle/Data/Masks/Anomaly/0.png"],
    ]
    (tmp_path / "split_csv").mkdir()
    with (tmp_path / "split_csv/1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path


@pytest.fixture
def real_iad(tmp_path):
    def entry(defect, image, mask=None):
        write(tmp_path / "realiad_256/audiojack" / image)
        if mask:
            write(tmp_path / "realiad_256/audiojack" / mask)
        return {"category": "audiojack", "anomaly_class": defect, "image_path": image, "mask_path": mask}

    said = {
        "meta": {"normal_class": "OK", "prefix": "audiojack/"},
        "train": [entry("OK", "OK/S0001/a.jpg")],
        "test": [entry("OK", "OK/S0002/b.jpg"), entry("AK", "NG/AK/S0003/c.jpg", "NG/AK/S0003/c.png")],
    }
    (tmp_path / "realiad_1024").mkdir()
    (tmp_path / "realiad_jsons").mkdir()
    (tmp_path / "realiad_jsons/audiojack.json").write_text(json.dumps(said))
    return tmp_path


def lists_of(root, folder):
    """The published lists of the MVTec tree `root`."""
    folder.mkdir()
    for split in ("train", "test"):
        with (folder / f"{split}.json").open("w") as file:
            for path in sorted(root.glob(f"*/{split}/*/*")):
                category, defect = path.relative_to(root).parts[0], path.parent.name
                said = {
                    "filename": path.relative_to(root).as_posix(),
                    "label": int(defect != GOOD),
                    "clsname": category,
                }
                if defect != GOOD:
                    mask = next((root / category / "ground_truth" / defect).glob(f"{path.stem}*"))
                    said["maskname"] = mask.relative_to(root).as_posix()
                file.write(json.dumps(said) + "\n")
    return folder


def test_categories_come_by_name_with_every_image_and_mask(root):
    nut, screw = read_mvtec(root)
    assert [nut.name, screw.name] == ["nut", "screw"]
    assert screw.normals == (root / "screw/train/good/000.png", root / "screw/train/good/001.JPG")
    assert screw.queries == (
        Query(root / "screw/test/cut/000.bmp", root / "screw/ground_truth/cut/000_mask.png", "cut"),
        Query(root / "screw/test/good/000.jpeg", None, "good"),
    )
    assert nut.queries[0].mask_path == root / "nut/ground_truth/cut/000.png"
    assert screw.name_of(screw.queries[0].path) == "screw/test/cut/000.bmp"


def test_root_may_be_one_category(root):
    (category,) = read_mvtec(root / "nut")
    assert category == read_mvtec(root)[0]


def test_one_category_is_named_even_from_inside_its_folder(root, monkeypatch):
    monkeypatch.chdir(root / "nut")
    assert read_mvtec(".")[0].name == "nut"


def test_other_files_are_passed_over(root):
    before = read_mvtec(root)
    (root / "readme.txt").touch()
    (root / "screw/train/good/Thumbs.db").touch()
    (root / "screw/test/cut/._000.bmp").touch()
    (root / "licences").mkdir()
    assert read_mvtec(root) == before


def test_btads_folders_are_those_of_mvtec_by_other_names(tmp_path):
    write(tmp_path / "01/train/ok/0000.bmp")
    write(tmp_path / "01/test/ok/0001.bmp")
    write(tmp_path / "01/test/ko/0002.bmp")
    write(tmp_path / "01/ground_truth/ko/0002.png")
    (category,) = read_mvtec(tmp_path)
    assert [(query.defect, query.is_anomalous) for query in category.queries] == [("ko", True), (GOOD, False)]
    assert category.normals == (tmp_path / "01/train/ok/0000.bmp",)


def test_goodsads_folders_are_those_of_mvtec(tmp_path):
    write(tmp_path / "food_box/train/good/a1.jpg")
    write(tmp_path / "food_box/test/opened/a2.jpg")
    write(tmp_path / "food_box/ground_truth/opened/a2.png")
    (category,) = read_mvtec(tmp_path)
    assert category.queries[0].mask_path == tmp_path / "food_box/ground_truth/opened/a2.png"


def test_visa_is_read_by_its_split(visa):
    (category,) = read_benchmark("visa", visa)
    assert category.name == "candle"
    assert category.normals == (visa / "candle/Data/Images/Normal/0.JPG",)
    assert [(q.defect, q.mask_path is not None) for q in category.queries] == [("anomaly", True), (GOOD, False)]


def test_real_iad_is_read_by_its_json_from_the_smallest_images(real_iad):
    (category,) = read_benchmark("real-iad", real_iad)
    assert category.name == "audiojack"
    assert category.normals == (real_iad / "realiad_256/audiojack/OK/S0001/a.jpg",)
    bad, good = category.queries
    assert (bad.defect, good.defect) == ("AK", GOOD)
    assert bad.mask_path == real_iad / "realiad_256/audiojack/NG/AK/S0003/c.png"


def test_real_iad_s_lists_may_lie_one_folder_deeper_as_they_are_unpacked(real_iad):
    flat = read_benchmark("real-iad", real_iad)
    (real_iad / "realiad_jsons").rename(real_iad / "unpacked")
    (real_iad / "realiad_jsons").mkdir()
    (real_iad / "unpacked").rename(real_iad / "realiad_jsons/realiad_jsons")
    assert read_benchmark("real-iad", real_iad) == flat


def test_other_lists_of_real_iad_are_named_by_their_folder(real_iad):
    said = json.loads((real_iad / "realiad_jsons/audiojack.json").read_text())
    said["test"] = said["test"][1:]
    single = real_iad / "realiad_jsons/realiad_jsons_sv"
    single.mkdir()
    (single / "audiojack.json").write_text(json.dumps(said))
    (category,) = read_benchmark("real-iad", real_iad, single)
    assert [query.defect for query in category.queries] == ["AK"]
    assert len(read_benchmark("real-iad", real_iad)[0].queries) == 2
    with pytest.raises(BadRequest, match=r"wanted <category>\.json in .*realiad_jsons_fuiad_0\.1, and realiad_<side>"):
        read_benchmark("real-iad", real_iad, real_iad / "realiad_jsons/realiad_jsons_fuiad_0.1")


@pytest.mark.parametrize(
    ("side_px", "folder"), [(1, 256), (256, 256), (288, 512), (512, 512), (513, 1024), (2048, 1024)]
)
def test_of_real_iad_s_sizes_the_smallest_is_taken_that_need_not_be_enlarged(real_iad, side_px, folder):
    for side in (512, 1024):
        shutil.copytree(real_iad / "realiad_256", real_iad / f"realiad_{side}", dirs_exist_ok=True)
    (real_iad / "realiad_512.zip").touch()
    (real_iad / "realiad_raw").mkdir()
    (category,) = read_benchmark("real-iad", real_iad, None, side_px)
    assert category.normals == (real_iad / f"realiad_{folder}/audiojack/OK/S0001/a.jpg",)


@pytest.mark.parametrize(("normal", "defective"), [("OK", "NG"), ("Good", "Bad"), ("ok", "ng"), ("GOOD", "Cut")])
def test_normal_folders_are_known_in_any_case_of_their_letters(tmp_path, normal, defective):
    write(tmp_path / f"nut/train/{normal}/0.png")
    write(tmp_path / f"nut/test/{normal}/1.png")
    write(tmp_path / f"nut/test/{defective}/2.png")
    write(tmp_path / f"nut/ground_truth/{defective}/2.png")
    (category,) = read_mvtec(tmp_path)
    by_name = read_folders(tmp_path / "nut/train", tmp_path / "nut/test")
    for found in (category, by_name):
        assert {query.path.name: query.defect for query in found.queries} == {"1.png": GOOD, "2.png": defective}
        assert [path.name for path in found.normals] == ["0.png"]


@pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "a.webp"])
def test_images_of_tif_and_webp_are_seen(tmp_path, name):
    write(tmp_path / "normal/a.png")
    write(tmp_path / "query/good" / name)
    (category,) = read_benchmark("folders", tmp_path)
    assert [query.path.name for query in category.queries] == [name]


def test_the_published_lists_say_what_the_folders_do(root, tmp_path_factory):
    folder = lists_of(root, tmp_path_factory.mktemp("lists") / "MVTec-AD")
    assert read_benchmark("lists", root, folder) == read_mvtec(root) == read_benchmark("mvtec", root, folder)


def test_an_image_named_twice_counts_once(root, tmp_path_factory):
    folder = lists_of(root, tmp_path_factory.mktemp("lists") / "VisA")
    twice = (folder / "train.json").read_text() * 2
    (folder / "train.json").write_text(twice)
    assert read_benchmark("lists", root, folder) == read_mvtec(root)


def test_a_benchmark_that_is_not_the_listed_one_is_an_error(root, tmp_path_factory):
    folder = lists_of(root, tmp_path_factory.mktemp("lists") / "MVTec-AD")
    write(root / "screw/train/good/002.png")
    with pytest.raises(Failure, match=r"^screw: 3 normal images found, 2 in .*; they differ in .*002\.png; complete"):
        read_benchmark("mvtec", root, folder)


def test_two_folders_are_a_category(tmp_path):
    write(tmp_path / "normal/a.png")
    write(tmp_path / "query/sub/b.png")
    write(tmp_path / "query/good/b.png")
    write(tmp_path / "masks/sub/b_mask.png")
    (category,) = read_benchmark("folders", tmp_path)
    assert category.normals == (tmp_path / "normal/a.png",)
    assert [(q.defect, q.mask_path) for q in category.queries] == [
        (GOOD, None),
        ("sub", tmp_path / "masks/sub/b_mask.png"),
    ]


def test_without_masks_a_query_is_known_by_its_folder_alone(tmp_path):
    write(tmp_path / "n/a.png")
    write(tmp_path / "q/good/b.png")
    write(tmp_path / "q/c.png")
    category = read_folders(tmp_path / "n", tmp_path / "q")
    assert [(q.is_anomalous, q.mask_path) for q in category.queries] == [(True, None), (False, None)]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda root: root / "nowhere", BadRequest, r"nowhere: no such folder; wanted a benchmark of layout mvtec"),
        (lambda root: root / "nut" / "test", BadRequest, r"test: holds no category \(found cut, good\); wanted"),
        (lambda root: root / "nut/train/good", BadRequest, r"good: holds no category \(found no folder\)"),
        (lambda root: _without(root, "nut/train/good"), Failure, r"nut/train/good: no normal image of nut; wanted"),
        (lambda root: _without(root, "nut/test/*"), Failure, r"nut/test: no test image of nut; wanted png"),
        (
            lambda root: _without(root, "nut/ground_truth/cut"),
            Failure,
            r"nut/test/cut/000\.bmp: no mask; wanted .*nut/ground_truth/cut/000_mask\.png or 000\.png$",
        ),
    ],
)
def test_a_wrong_folder_is_one_line_that_says_what_was_wanted(root, change, error, message):
    with pytest.raises(error, match=message) as caught:
        read_mvtec(change(root))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("visa", r"split_csv/1cls\.csv: cannot be read \(No such file or directory\); wanted VisA's split"),
        ("real-iad", r"wanted <category>\.json in realiad_jsons or realiad_jsons/realiad_jsons, and realiad_<side>"),
        ("lists", r"train\.json: no such file; wanted the published lists"),
        ("folders", r"found nut, screw; wanted the folders normal and query"),
    ],
)
def test_a_folder_of_another_layout_is_one_line(root, layout, message):
    with pytest.raises(BadRequest, match=message):
        read_benchmark(layout, root)


def test_a_listed_image_that_is_not_there_is_an_error(visa):
    (visa / "candle/Data/Images/Normal/0.JPG").unlink()
    with pytest.raises(Failure, match=r"Normal/0\.JPG: no such file, but .*1cls\.csv names it; complete the data set"):
        read_benchmark("visa", visa)


def test_a_listed_mask_that_is_not_there_is_an_error(real_iad):
    (real_iad / "realiad_256/audiojack/NG/AK/S0003/c.png").unlink()
    with pytest.raises(Failure, match=r"c\.jpg: no mask; .*audiojack\.json names audiojack/NG/AK/S0003/c\.png"):
        read_benchmark("real-iad", real_iad)


def test_queries_that_nothing_tells_apart_are_a_wrong_request(tmp_path):
    write(tmp_path / "n/a.png")
    write(tmp_path / "q/b.png")
    with pytest.raises(BadRequest, match="1 images, no masks and no folder good: nothing to score against"):
        read_folders(tmp_path / "n", tmp_path / "q")


def _without(root, pattern):
    for folder in root.glob(pattern):
        for path in folder.iterdir():
            path.unlink()
    return root


def test_the_hazelnut_photographs_are_one_category(shared):
    (category,) = read_mvtec(shared / "data/hazelnut_toy")
    assert category.name == "hazelnut_toy"
    assert {query.defect for query in category.queries} == {"good", "colour"}


def test_a_tree_of_the_published_names_is_mvtec_ad_as_published(shared, tmp_path):
    lists = shared / "data/metauas_protocol/MVTec-AD"
    for split in ("train", "test"):
        for line in (lists / f"{split}.json").read_text().splitlines():
            said = json.loads(line)
            for name in filter(None, (said["filename"], said.get("maskname"))):
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).touch()

    categories = read_benchmark("mvtec", tmp_path, lists)

    queries = [query for category in categories for query in category.queries]
    assert (len(categories), len(queries), sum(query.is_anomalous for query in queries)) == (15, 1725, 1258)
    assert sum(len(category.normals) for category in categories) == 3629
    check_against_lists(categories, lists)


def touch(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def counts(category):
    anomalous = sum(query.is_anomalous for query in category.queries)
    return len(category.normals), len(category.queries) - anomalous, anomalous


def test_elpv_has_the_counts_of_metacan_s_paper(tmp_path):
    labels = ["0.0"] * 1508 + ["0.3333333333333333"] * 295 + ["0.6666666666666666"] * 106 + ["1.0"] * 715
    names = [f"images/cell{number:04}.png" for number in range(1, len(labels) + 1)]
    touch(tmp_path, names)
    lines = (f"{name}  {label:18}  mono" for name, label in zip(names, labels, strict=True))
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    (category,) = read_benchmark("elpv", tmp_path)
    assert category.name == "elpv"
    assert counts(category) == (1131, 377, 715)
    assert not set(category.normals) & {query.path for query in category.queries}
    (tmp_path / "images" / "cell0001.png").unlink()
    with pytest.raises(Failure, match=r"cell0001.png: no such file, but .*labels.csv names it"):
        read_benchmark("elpv", tmp_path)


def test_headct_has_the_counts_of_metacan_s_paper(tmp_path):
    touch(tmp_path, (f"head_ct/{number:03}.png" for number in range(200)))
    lines = (f"{number},{int(number < 100)}" for number in range(200))
    (tmp_path / "labels.csv").write_text("\n".join(["id, hemorrhage", *lines]))
    (category,) = read_benchmark("headct", tmp_path)
    assert counts(category) == (75, 25, 100)
    assert {path.name for path in category.normals} <= {f"{number:03}.png" for number in range(100, 200)}


def test_mnist_and_aitex_have_the_counts_of_metacan_s_paper(tmp_path):
    each = {"train": {0: 5923, 2: 5958, 4: 5842, 6: 5918, 8: 5851}}
    each["test"] = {0: 980, 1: 1135, 2: 1032, 3: 1010, 4: 982, 5: 892, 6: 958, 7: 1028, 8: 974, 9: 1009}
    for part, digits in each.items():
        for digit in range(10):
            (tmp_path / part / str(digit)).mkdir(parents=True)
            for number in range(digits.get(digit, 1)):
                (tmp_path / part / str(digit) / f"{number}.png").touch()
    (category,) = read_benchmark("mnist", tmp_path)
    assert counts(category) == (29492, 4926, 5074)
    tiles = [tmp_path / str(number) for number in range(141 * 16)]  # strips of 4096 px
    assert [len(part) for part in quarter(tiles)] == [1692, 564]


def test_mnist_s_even_digits_are_normal_and_its_own_split_stays(tmp_path):
    for part, each in (("train", 3), ("test", 2)):
        touch(tmp_path, (f"{part}/{digit}/{number}.png" for digit in range(10) for number in range(each)))
    (category,) = read_benchmark("mnist", tmp_path)
    assert counts(category) == (15, 10, 10)
    assert {query.defect for query in category.queries} == {GOOD, "1", "3", "5", "7", "9"}
    shutil.rmtree(tmp_path / "test" / "7")
    with pytest.raises(BadRequest, match="test: wanted a folder of PNGs for each digit"):
        read_benchmark("mnist", tmp_path)


@pytest.mark.parametrize(
    ("layout", "text", "said"),
    [
        ("elpv", "images/cell0001.png 0.5 mono\n", "found 'images/cell0001.png 0.5 mono'; wanted path, probability"),
        ("headct", "id, hemorrhage\n7;1\n", "found '7;1'; wanted an id, and 0 or 1"),
    ],
)
def test_labels_of_another_form_are_told(tmp_path, layout, text, said):
    with pytest.raises(BadRequest, match=r"labels.csv: cannot be read"):
        read_benchmark(layout, tmp_path)
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(BadRequest, match=said):
        read_benchmark(layout, tmp_path)


@pytest.mark.parametrize("count", [1, 7, 100, 1508, 2256])
def test_a_quarter_is_parted_as_scikit_learn_does(count):
    paths = [Path(f"{number}.png") for number in range(count + 1)]
    train, test = train_test_split(paths, test_size=0.25, random_state=42)
    assert quarter(paths) == (train, test)
