"""`inspect --verify`: whatever is changed in a dataset is found and named, and what is right is said to be right."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from configs.errors import BadRequest, Failure
from pipeline.changes.sources import Sources
from pipeline.inspect import main
from pipeline.shards.format import shard_path
from tests.pipeline.conftest import Workspace


@pytest.fixture
def copied(workspace, tmp_path, monkeypatch) -> Workspace:
    """A copy of the finished artifacts, with a params.yaml in the current folder."""
    for name in ("index", "inpainted", "pairs"):
        shutil.copytree(workspace.root / name, tmp_path / name)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(workspace.params.model_dump()))
    monkeypatch.chdir(tmp_path)
    return replace(workspace, root=tmp_path)


def verify(name: str, root: Path) -> int:
    return main([name, "--verify", "--root", str(root)])


@pytest.mark.parametrize("folder", ["pairs", "inpainted"])
def test_a_whole_dataset_is_verified_and_made_again_to_the_byte(copied, folder, capsys):
    assert verify("all", copied.root / folder) == 0

    shown = capsys.readouterr().err
    assert "bytes and laws verified" in shown
    assert "made again to the byte" in shown


def test_originals_of_other_photographs_are_found_though_every_record_makes_its_pair_again(copied, monkeypatch):
    """What a wrong order of data/inpainted does: nothing that is made again from it would show it."""
    of_row = Sources.original
    monkeypatch.setattr(Sources, "original", lambda self, row: of_row(self, self.split_rows(row)[0]))
    shutil.rmtree(copied.pairs)
    copied.make_pairs(copied.pairs)

    with pytest.raises(Failure, match="pair 4 is another when made again"):
        verify("all", copied.pairs)


def test_photographs_of_another_source_are_held_against_nothing(copied, capsys):
    shutil.copytree(copied.params.data.images, copied.root / "other")
    for path in (copied.root / "other").iterdir():  # of the same names
        path.write_bytes(path.read_bytes() + b"\0")
    other = copied.params.model_dump() | {"data": copied.params.data.model_dump() | {"images": "other"}}
    (copied.root / "params.yaml").write_text(yaml.safe_dump(other))

    assert verify("all", copied.root / "pairs") == 0

    assert "made again to the byte" in capsys.readouterr().err


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("file", ["pair/c/0/0/0/0/0", "mask/c/0/0/0", "kind/c/0", "donor_id/c/0", "pair/zarr.json"])
@pytest.mark.parametrize("at", [0.0, 0.4, 1.0])
def test_a_flipped_bit_is_found_and_its_shard_and_file_named(copied, file, at):
    flip(shard_path(copied.pairs, "shard_0001") / file, at)

    with pytest.raises(Failure, match="shard_0001: ") as raised:
        verify("all", copied.pairs)

    assert "shard_0000" not in str(raised.value)
    assert file in str(raised.value) or file.endswith("zarr.json")
    assert "run `dvc repro --force --single-item`" in str(raised.value)
    assert "\n" not in str(raised.value)


def change_attributes(copied, change) -> None:
    path = shard_path(copied.pairs, "shard_0001") / "zarr.json"
    content = json.loads(path.read_text())
    change(content["attributes"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda found: found["records"][3].update(image_id=4), "the bytes of records are not those"),
        (lambda found: found.update(seed=1), "its attributes are not those that were written"),
        (lambda found: found["parameters"]["visible"].update(min_contrast=9), "its attributes are not those"),
        (lambda found: found["entry"].update(pairs=3), "the manifest says otherwise of it"),
        (lambda found: found["digests"].pop("kind/c/0"), "kind/c/0 does not belong to it"),
        (lambda found: found.pop("records"), "its attributes are broken|records is gone"),
    ],
)
def test_changed_attributes_are_found(copied, change, fault):
    change_attributes(copied, change)

    with pytest.raises(Failure, match=fault):
        verify("shard_0001", copied.pairs)


def test_a_shard_that_is_lost_or_that_nobody_made_is_named(copied):
    shard_path(copied.pairs, "shard_0000").rename(shard_path(copied.pairs, "shard_0077"))

    with pytest.raises(Failure, match=r"shard_0000: is not there; shard_0077: is not in the manifest"):
        verify("all", copied.pairs)


def test_a_pair_that_its_record_does_not_give_is_found(copied, monkeypatch):
    monkeypatch.setattr("pipeline.changes.change.keep_visible", lambda original, changed, mask, *_: (changed, ~mask))

    with pytest.raises(Failure, match=r"pair \d is another when made again"):
        verify("all", copied.pairs)


@pytest.mark.parametrize(
    ("lose", "reason"),
    [
        (lambda root: shutil.rmtree(root / "inpainted"), "NOT made again, no .*manifest.json"),
        (lambda root: shutil.rmtree(root / "index"), "NOT made again, no .*summary.json"),
        (
            lambda root: (root / "index/summary.json").write_text(
                (root / "index/summary.json").read_text().replace('"digest": "', '"digest": "0')
            ),
            "NOT made again, the index and the rights beside .* is not the one it was made from",
        ),
    ],
)
def test_what_cannot_be_made_again_is_said_and_the_rest_decides(copied, lose, reason, capsys):
    lose(copied.root)

    assert verify("all", copied.pairs) == 0

    assert re.search(reason, capsys.readouterr().err)


def test_all_is_for_verify_alone(copied):
    with pytest.raises(BadRequest, match="for --verify alone"):
        main(["all", "--root", str(copied.pairs)])
