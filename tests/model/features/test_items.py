from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadRequest
from model.features.items import EVERY_TASK, Item, of_benchmark, of_pairs, tasks_of, without_small_tasks
from model.layouts import labelled
from pipeline.shards.format import FACTS, write_manifest
from pipeline.shards.writer import write_shard
from tests.model.tiny_benchmark import make_category
from tests.model.tiny_pairs import GROUPS, form, square_pairs, write_square_shards


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("benchmark")
    for name in ("bolt", "nut"):
        make_category(root / name, normals=5, good=3, bad=4)
    return root


def test_all_normal_images_are_normal_and_all_others_anomalous(folder):
    listed = labelled("mvtec", folder)
    assert len(listed) == 2 * (5 + 3 + 4)
    assert {path.parent.name for _, path, anomalous in listed if anomalous} == {"spot"}
    assert {path.parent.name for _, path, anomalous in listed if not anomalous} == {"good"}


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.2, 0.7))
def test_of_each_category_and_label_a_share_is_held_back_and_none_is_lost(folder, share):
    listed = labelled("mvtec", folder)
    items = of_benchmark(listed, folder, share)
    assert sorted(item.name for item in items) == sorted(path.relative_to(folder).as_posix() for _, path, _ in listed)
    assert len({item.image_id for item in items}) == len(items)
    for group in tasks_of(items):
        for anomalous, count in ((False, 8), (True, 4)):
            own = [item for item in items if (item.group, item.anomalous) == (group, anomalous)]
            assert sum(item.split == "val" for item in own) == round(share * count)


def test_who_is_held_back_follows_from_names_alone(folder):
    listed = labelled("mvtec", folder)
    items = of_benchmark(listed, folder, 0.25)
    assert sorted(of_benchmark(listed[::-1], folder, 0.25), key=str) == sorted(items, key=str)
    alone = of_benchmark([one for one in listed if one[0] == "nut"], folder, 0.25)
    assert sorted(alone, key=str) == sorted((item for item in items if item.group == "nut"), key=str)


@pytest.mark.parametrize(("share", "what"), [(0.01, "normal"), (0.9, "anomalous")])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(folder, share, what):
    with pytest.raises(BadRequest, match=f"features: bolt has . {what} images, of which features.clip.val_share"):
        of_benchmark(labelled("mvtec", folder), folder, share)


def test_of_pairs_originals_are_normal_once_and_what_was_changed_is_anomalous(tmp_path):
    write_square_shards(tmp_path)
    items = of_pairs(tmp_path, "groups")
    assert len(items) == 2 * 11
    assert {item.group for item in items} == set(GROUPS)
    changed = [item for item in items if item.anomalous]
    assert sorted(item.image_id for item in changed) == sorted(i.image_id for i in items if not i.anomalous)
    assert [item.split for item in changed] == ["train"] * 5 + ["val"] * 3 + ["train"] * 3
    assert items[0].name == "shard_0000[0] original"


def test_pairs_of_one_group_without_a_name_are_no_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.model.tiny_pairs.GROUPS", ("", ""))
    write_square_shards(tmp_path)
    with pytest.raises(BadRequest, match=r"its pairs are of one group, of no name; set features.clip.tasks to kinds"):
        of_pairs(tmp_path, "groups")


def test_where_tasks_are_kinds_of_change_the_originals_are_every_task_s(tmp_path):
    write_square_shards(tmp_path)
    items = of_pairs(tmp_path, "kinds")
    assert {item.group for item in items if item.anomalous} == {"inpaint", "paste", "local"}
    assert {item.group for item in items if not item.anomalous} == {EVERY_TASK}
    by_group = of_pairs(tmp_path, "groups")
    assert [replace(item, group="") for item in items] == [replace(item, group="") for item in by_group]


def test_where_tasks_are_categories_a_change_of_objects_of_one_category_is_of_it_alone(tmp_path):
    changed = [("dog",), ("dog", "cat"), (), ("cat",), ("cat",)]
    numbers = {"dog": 18, "cat": 17}
    pairs = [
        replace(pair, record={FACTS: {"categories": [numbers[name] for name in names]}})
        for pair, names in zip(square_pairs(5, 64, seed=1), changed, strict=True)
    ]
    said = {"split": "train", "fingerprint": "f", "names": {"categories": {"18": "dog", "17": "cat"}}}
    write_manifest(tmp_path, [write_shard(tmp_path, "shard_0000", form(64), pairs, said, {})])

    items = of_pairs(tmp_path, "categories")

    assert [(item.group, item.place[1]) for item in items if item.anomalous] == [("dog", 0), ("cat", 3), ("cat", 4)]
    assert [item.group for item in items if not item.anomalous] == [EVERY_TASK] * 5


def test_a_shard_that_does_not_say_what_was_changed_has_no_categories(tmp_path):
    write_square_shards(tmp_path)
    with pytest.raises(BadRequest, match=r"shard_0000: it does not say which objects were changed; wanted a shard of"):
        of_pairs(tmp_path, "categories")


def test_changes_of_no_category_are_told_from_pairs_without_change(tmp_path):
    pairs = [replace(pair, record={FACTS: {"categories": []}}) for pair in square_pairs(2, 64, seed=1)]
    said = {"split": "train", "fingerprint": "f", "names": {"categories": {}}}
    write_manifest(tmp_path, [write_shard(tmp_path, "shard_0000", form(64), pairs, said, {})])
    with pytest.raises(BadRequest, match=r"none of its pairs is changed and of a task; .* than categories"):
        of_pairs(tmp_path, "categories")


def item(group, split, anomalous, image_id):
    return Item(split, group, anomalous, image_id, f"{group}{image_id}", ("shard_0000", image_id, 0), "digest")


def test_tasks_of_too_few_photographs_are_left_out_and_what_they_have_is_said():
    normal = [item(EVERY_TASK, split, False, 0) for split in ("train", "val")]
    large = [item("large", "train", True, image_id) for image_id in (1, 1, 2)] + [item("large", "val", True, 9)]
    twice = [item("twice", "train", True, 1)] * 2 + [item("twice", "val", True, 9)]  # two images of one photograph
    not_held = [item("not held", "train", True, image_id) for image_id in (1, 2, 3)]
    items = [*normal, *large, *twice, *not_held]

    kept, small = without_small_tasks(items, 2)

    assert kept == [*normal, *large]
    assert small == {"not held": "3+0", "twice": "1+1"}
    assert without_small_tasks(items, 1)[0] == [*normal, *large, *twice]
    with pytest.raises(BadRequest, match=r"3 tasks has features\.clip\.least_photographs = 9 .* large, has 2\+1"):
        without_small_tasks(items, 9)
    with pytest.raises(BadRequest, match=r"the first, large, has 2\+1, 1\+0 normal"):
        without_small_tasks([*normal[:1], *large], 1)
