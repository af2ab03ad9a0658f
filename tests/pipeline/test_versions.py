"""Two versions of the same pairs: what is the same, what is not, and why."""

import json
import shutil

import cv2
import pytest

from configs.errors import BadRequest
from pipeline.inspect import main
from pipeline.records import write_records
from pipeline.versions import Version, compare


@pytest.fixture(scope="module")
def roots(workspace, tmp_path_factory):
    folder = tmp_path_factory.mktemp("versions")
    made = {"a": {"local_prob": 0.2}, "b": {"local_prob": 0.7}, "c": {"local_prob": 0.2, "pairs_per_image": 2}}
    for name, changes in made.items():
        root = folder / name / "pairs"
        root.parent.mkdir()
        write_records(root, workspace.make_pairs(root, **changes))
    return {name: folder / name / "pairs" for name in made}


def difference(before, now, tmp_path):
    return compare(Version(str(before), before, tmp_path), Version(str(now), now, tmp_path))


def test_a_version_is_the_same_as_itself(roots, tmp_path):
    found = difference(roots["a"], roots["a"], tmp_path)
    assert len(found.same) == 48
    assert not any((found.changed, found.gone, found.new, found.made_with, found.turned))


def test_more_local_pairs_turn_others_and_leave_the_rest_to_the_byte(roots, tmp_path):
    found = difference(roots["a"], roots["b"], tmp_path)
    assert found.made_with == {"parameters.synth.local_prob": (0.2, 0.7)}
    assert found.changed
    assert len(found.same) + len(found.changed) == 48
    assert found.turned.keys() <= {"paste -> local", "inpaint -> local"}
    assert sum(found.turned.values()) == len(found.changed)
    before, now = found.kinds["local"]
    assert now - before == len(found.changed)


def test_fewer_pairs_an_image_are_gone_by_their_ids(roots, tmp_path):
    found = difference(roots["a"], roots["c"], tmp_path)
    assert sorted(found.gone) == sorted(f"{image}-{number}" for image in range(1, 13) for number in (2, 3))
    assert not found.new
    assert difference(roots["c"], roots["a"], tmp_path).new == found.gone


def test_the_command_prints_and_draws_them(roots, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    asked = ["all", "--root", str(roots["b"]), "--diff", str(roots["a"])]
    assert main([*asked, "--png", str(sheet)]) == 0
    shown = capsys.readouterr().out
    assert "are the same to the byte" in shown
    assert "parameters.synth.local_prob" in shown
    assert cv2.imread(str(sheet)).shape[1] > 2 * 3 * 160
    assert main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["made_with"]["parameters.synth.local_prob"] == [0.2, 0.7]


def test_what_is_no_version_is_refused_in_one_line(roots, tmp_path):
    with pytest.raises(BadRequest, match="no-such-thing: neither a folder of pairs nor a revision"):
        Version("no-such-thing", roots["a"], tmp_path)
    with pytest.raises(BadRequest, match="--diff is of all shards"):
        main(["shard_0000", "--root", str(roots["a"]), "--diff", str(roots["b"])])
    bare = tmp_path / "bare"
    shutil.copytree(roots["a"], bare)
    (bare / "records.parquet").unlink()
    with pytest.raises(BadRequest, match=r"records\.parquet.*the pairs are not finished"):
        main(["all", "--root", str(bare), "--diff", str(roots["b"])])
