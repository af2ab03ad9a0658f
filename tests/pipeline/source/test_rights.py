"""Licences, urls and categories: from the instances file into the index, and which photographs they let in."""

import json

import pytest

from configs.errors import BadRequest
from pipeline.source.coco import Licence, of_licences, read_annotations
from pipeline.source.index import Index
from pipeline.source.index_build import build_index, choose_images, write_index
from pipeline.source.rights import RightsTable
from tests.pipeline import tiny


@pytest.fixture
def source(tmp_path):
    tiny.draw_source(tmp_path)

    def changed(change):
        """The annotations after a change of the instances file."""
        path = tmp_path / "instances.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return read_annotations(path)

    return changed


def index_of(annotations, tmp_path):
    places = choose_images(annotations.groups, 12, 0.25, 0)
    summary = write_index(tmp_path / "index", build_index(annotations, tmp_path / "images", places, 0))
    return summary, Index(tmp_path / "index"), RightsTable(tmp_path / "index")


def test_each_row_has_the_rights_of_its_image_and_the_categories_of_its_instances(source, tmp_path):
    annotations = source(lambda content: None)
    summary, index, rights = index_of(annotations, tmp_path)

    assert rights.licences == {
        1: Licence("terms 1", "https://terms.test/1"),
        2: Licence("terms 2", "https://terms.test/2"),
    }
    assert rights.categories == {1: "box", 2: "crate"}
    assert summary["rights"]["images"] == {"1": 6, "2": 6}
    for row in range(len(index)):
        image, own = index.image(row), rights.of(row)
        assert (own.image_id, own.file) == (image.image_id, image.file)
        assert own.licence == image.image_id % 2 + 1
        assert own.url == f"https://photographs.test/{image.image_id}"
        assert own.categories == tuple(1 + instance.instance_id % 2 for instance in index.instances(row))


def test_other_rights_change_their_own_digest_alone(source, tmp_path):
    before, _, _ = index_of(source(lambda content: None), tmp_path)
    after, _, _ = index_of(source(lambda content: content["images"][3].update(flickr_url="elsewhere")), tmp_path)
    assert before["digest"] == after["digest"]
    assert before["rights"]["digest"] != after["rights"]["digest"]


def test_a_source_without_rights_says_so(source, tmp_path):
    def without(content):
        del content["licenses"], content["categories"]
        for image in content["images"]:
            del image["license"], image["flickr_url"]
        for annotation in content["annotations"]:
            del annotation["category_id"]

    summary, _, rights = index_of(source(without), tmp_path)
    assert summary["rights"]["images"] == {"none stated": 12}
    assert (rights.of(0).licence, rights.of(0).url) == (None, None)
    assert set(rights.of(0).categories) == {None}


def test_only_photographs_of_the_wanted_licences_are_taken(source, tmp_path):
    kept = of_licences(source(lambda content: None), [2])
    assert {image_id % 2 for image_id in kept.images} == {1}
    assert kept.instances.keys() == kept.images.keys()
    assert all(annotation["image_id"] % 2 for own in kept.instances.values() for annotation in own)


@pytest.mark.parametrize(
    ("change", "wanted", "reason"),
    [
        (lambda content: None, [1, 7], r"index\.licences: 7 is no licence of the source; it has \[1, 2\]"),
        (
            lambda content: [image.pop("license") for image in content["images"]] and content.pop("licenses"),
            [1],
            r"the source states no licences; set it to null",
        ),
        (
            lambda content: [image.update(license=2) for image in content["images"]],
            [1],
            r"none of 12 images bears one of these",
        ),
    ],
)
def test_licences_that_cannot_be_asked_for_are_refused_in_one_line(source, change, wanted, reason):
    annotations = source(change)
    with pytest.raises(BadRequest, match=reason):
        of_licences(annotations, wanted)


@pytest.mark.parametrize("odd", [None, "", {}, [{}], ["mine"], [{"name": "mine"}], [{"id": None}], [{"id": 2**70}]])
def test_an_odd_section_of_licences_says_nothing(source, odd):
    assert source(lambda content: content.update(licenses=odd)).licences == {}


def test_two_licences_of_one_id_are_refused(source):
    with pytest.raises(BadRequest, match="licenses: id 2 is 'terms 2' and 'mine'; renumber one"):
        source(lambda content: content["licenses"].append({"id": 2, "name": "mine", "url": ""}))


@pytest.mark.parametrize(("stated", "read"), [("1", 1), (1, 1), (1.5, None), (2**70, None), ("mine", None)])
def test_an_id_may_be_text_and_what_is_none_states_nothing(source, stated, read):
    annotations = source(lambda content: content["images"][0].update(license=stated, flickr_url="\ud800"))
    assert annotations.licence(1) == read
    assert annotations.url(1) is None


def test_a_licence_without_name_and_address_states_nothing(source, tmp_path):
    empty = {"id": 1, "name": "", "url": ""}
    annotations = source(lambda content: content.update(licenses=[empty, content["licenses"][1]]))
    summary, _, _ = index_of(annotations, tmp_path)
    assert summary["rights"]["images"] == {"2": 6, "none stated": 6}
    with pytest.raises(BadRequest, match=r"1 is no licence of the source; it has \[2\]"):
        of_licences(annotations, [1])
