from pathlib import Path, PurePath

import pytest

from configs.errors import BadRequest
from model.inference.files import find_images, name_outputs


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_of(folder, *wanted):
    return [path.relative_to(folder).as_posix() for path in find_images([str(folder / name) for name in wanted])]


def test_files_folders_and_globs_give_each_image_once_in_order(tmp_path):
    make(tmp_path, "a/1.png", "a/2.JPG", "a/3.tif", "a/4.webp", "a/notes.txt", "a/.hidden.png", "b/c/5.bmp")
    assert names_of(tmp_path, "a") == ["a/1.png", "a/2.JPG", "a/3.tif", "a/4.webp"]
    assert names_of(tmp_path, "a/2.JPG", "*/*.*") == ["a/2.JPG", "a/1.png", "a/3.tif", "a/4.webp"]
    assert names_of(tmp_path, "**/*.bmp") == ["b/c/5.bmp"]
    assert names_of(tmp_path, "a/.hidden.png") == ["a/.hidden.png"]


def test_a_name_that_exists_is_taken_as_it_is(tmp_path):
    make(tmp_path, "li[1]/a[2].png", "li[1]/b.png", "li[1]/sub/c.png", "li1/a2.png", "li1/b.png")
    assert names_of(tmp_path, "li[1]") == ["li[1]/a[2].png", "li[1]/b.png"]
    assert names_of(tmp_path, "li[1]/a[2].png") == ["li[1]/a[2].png"]
    assert names_of(tmp_path, "li[1]/b.*") == ["li[1]/b.png"]
    assert names_of(tmp_path, "li[1]/**/*.png") == ["li[1]/a[2].png", "li[1]/b.png", "li[1]/sub/c.png"]
    assert names_of(tmp_path, "li[123]/b.png") == ["li1/b.png"]  # of this name there is no folder


def test_globs_are_those_of_the_working_directory(tmp_path, monkeypatch):
    make(tmp_path, "li[1]/b.png")
    monkeypatch.chdir(tmp_path)
    assert find_images(["li[1]/*.png"]) == find_images(["./li[1]/b.png"]) == [Path("li[1]/b.png")]
    assert find_images(["*/b.png"]) == [Path("li[1]/b.png")]


@pytest.mark.parametrize("name", ["nowhere", "a/*.jpg", "a/notes.txt", "empty"])
def test_a_name_without_any_image_is_a_wrong_request(tmp_path, name):
    make(tmp_path, "a/1.png", "a/notes.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadRequest, match=r"no image there; wanted a file, folder or glob of \.bmp, \.jpeg"):
        names_of(tmp_path, name)


def test_two_queries_of_one_name_are_refused(tmp_path):
    with pytest.raises(BadRequest, match="is the map of two queries"):
        name_outputs([tmp_path / "0.png", tmp_path / "0.jpg"], [], tmp_path / "heat")


def test_no_map_takes_the_place_of_a_prompt(tmp_path):
    queries = [tmp_path / "line/0.jpg", tmp_path / "line/1.jpg"]
    with pytest.raises(BadRequest, match=r"heat/1\.png would be written over a prompt; pass another folder"):
        name_outputs(queries, [tmp_path / "heat/1.png"], tmp_path / "heat")
    outputs = name_outputs(queries, [tmp_path / "heat/2.png"], tmp_path / "heat")
    assert outputs == [tmp_path / "heat/0.png", tmp_path / "heat/1.png"]


def test_naming_compares_no_more_paths_than_there_are(tmp_path, monkeypatch):
    compared = []
    equal = PurePath.__eq__
    monkeypatch.setattr(PurePath, "__eq__", lambda self, other: compared.append(self) or equal(self, other))
    queries = [tmp_path / f"{number}.jpg" for number in range(100)]
    name_outputs(queries, [], tmp_path / "heat")
    assert len(compared) < 10 * len(queries)
