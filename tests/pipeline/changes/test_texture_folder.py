import shutil

import cv2
import numpy as np
import pytest

from configs.errors import BadRequest, Failure
from configs.section import Range
from pipeline.changes.change import from_record, make_pair
from pipeline.changes.sources import Sources
from pipeline.changes.synth import _sources
from pipeline.changes.texture_folder import TextureFolder
from pipeline.shards.format import shard_names
from pipeline.shards.opened import open_shard


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(("banded/a.jpg", "dotted/b.PNG", "dotted/c.png")):
        path = tmp_path / "textures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.random.default_rng(number).integers(256, size=(30, 40, 3), dtype=np.uint8))
    return tmp_path / "textures"


def made_with(workspace, root, folder, **local):
    config = workspace.params.synth.local.model_copy(update={"texture_folder": str(folder), **local})
    return workspace.make_pairs(root, local=config, local_prob=1.0, unchanged_prob=0.0)


def test_textures_are_the_folder_s_and_the_records_make_the_pairs_again(workspace, tmp_path, folder):
    made_with(workspace, tmp_path / "pairs", folder, texture_weight=Range(low=0.5, high=1.0))

    sources, used = Sources(workspace.index, workspace.inpainted, folder), set()
    for name in shard_names(tmp_path / "pairs"):
        shard = open_shard(tmp_path / "pairs", name)
        for place, record in enumerate(shard.attributes["records"]):
            if record["change"]["kind"] == "local":
                assert not record["donor_ids"]
                used |= set(record["change"]["draw"]["files"])
                made = make_pair(from_record(record), sources, workspace.params.visible)
                assert (np.asarray(shard.pair[place])[1] == made.changed).all()
    assert used == {"banded/a.jpg", "dotted/b.PNG", "dotted/c.png"}


def test_another_place_of_the_folder_changes_nothing_and_another_content_everything(workspace, tmp_path, folder):
    first = made_with(workspace, tmp_path / "first", folder)
    moved = shutil.move(folder, tmp_path / "moved")
    again = made_with(workspace, tmp_path / "again", moved)
    cv2.imwrite(str(tmp_path / "moved" / "dotted" / "c.png"), np.zeros((30, 40, 3), np.uint8))
    other = made_with(workspace, tmp_path / "other", moved)

    names = [[shard.fingerprint for shard in manifest.shards] for manifest in (first, again, other)]
    assert names[0] == names[1]
    assert not set(names[0]) & set(names[2])


def test_a_worker_that_stands_since_before_a_change_of_the_folder_refuses_or_sees_it(workspace, tmp_path, folder):
    made_with(workspace, tmp_path / "first", folder)
    cv2.imwrite(str(folder / "banded" / "new.png"), np.zeros((30, 40, 3), np.uint8))
    manifest = made_with(workspace, tmp_path / "again", folder)
    digest = TextureFolder(folder, (8, 8)).digest
    for entry in manifest.shards:
        shard = open_shard(tmp_path / "again", entry.name)
        assert shard.attributes["inputs"]["textures"] == digest
    with pytest.raises(Failure, match=r"textures: changed since the run began"):
        _sources(workspace.index, workspace.inpainted, folder, (("textures", "0" * 64),))


def test_a_folder_without_images_and_a_damaged_image_are_named(tmp_path, folder):
    with pytest.raises(BadRequest, match=r"texture_folder = '.*none': no images there"):
        TextureFolder(tmp_path / "none", (8, 8))
    (folder / "banded" / "a.jpg").write_bytes(b"")
    with pytest.raises(Failure, match=r"a\.jpg: .*take it out"):
        TextureFolder(folder, (8, 8)).read("banded/a.jpg")
