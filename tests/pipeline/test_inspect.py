import base64
import json

import cv2
import numpy as np
import pytest

from configs.errors import BadRequest, Failure
from pipeline.inspect import describe, main
from pipeline.shards import NewImage, write_features
from pipeline.shards.format import shard_path
from pipeline.shards.opened import open_shard
from pipeline.shards.writer import Form, NewPair, write_shard

FORM = Form((8, 8), ("unchanged", "inpaint"), ("all",))


def test_the_report_agrees_with_the_arrays(workspace, capsys):
    assert main(["shard_0000", "--root", str(workspace.pairs), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    shard = open_shard(workspace.pairs, "shard_0000")
    masks, kinds = np.asarray(shard.mask[:]), np.asarray(shard.kind[:])
    assert report["pairs"] == len(kinds) == sum(report["kinds"].values())
    assert report["bytes_raw"] == np.asarray(shard.pair[:]).nbytes + masks.nbytes
    files = [path for path in shard_path(workspace.pairs, "shard_0000").rglob("*") if path.is_file()]
    assert report["bytes_on_disk"] == sum(path.stat().st_size for path in files)
    assert report["seed"] == workspace.params.seed
    assert report["parameters"]["synth"]["local_prob"] == workspace.params.synth.local_prob
    for number, name in enumerate(("unchanged", "inpaint", "paste", "local")):
        assert report["kinds"][name] == (kinds == number).sum()
        if report["kinds"][name]:
            shares = masks[kinds == number].mean(axis=(1, 2))
            assert report["mask_share"][name]["median"] == pytest.approx(np.median(shares), abs=1e-4)


def test_the_tables_and_the_contact_sheet_are_written(workspace, tmp_path, capsys):
    sheet, page = tmp_path / "sheet.png", tmp_path / "shard.html"
    files = ["--png", str(sheet), "--html", str(page)]

    assert main(["shard_0001", "--root", str(workspace.pairs), *files, "--verify"]) == 0

    shown = capsys.readouterr()
    for text in ("shard_0001: ", "pairs, ", "64 x 64 px", "inpaint", "synth.local_prob", "times smaller than raw"):
        assert text in shown.out
    assert "shard_0001: bytes and laws verified (shards: 1); up to 8 of each shard made again to the byte" in shown.err
    assert cv2.imread(str(sheet)).shape[1] > 3 * 3 * 64
    assert "synth.local_prob" in page.read_text()
    assert base64.b64encode(sheet.read_bytes()).decode() in page.read_text()


def test_the_inpainted_images_can_be_inspected_too(workspace, capsys):
    assert main(["shard_0000", "--root", str(workspace.inpainted)]) == 0

    assert "stage inpaint" in capsys.readouterr().out


def test_an_unknown_name_lists_what_there_is(workspace):
    with pytest.raises(BadRequest, match=r"no shard_0099 in .*shards there: shard_0000 \.\. shard_00") as raised:
        main(["shard_0099", "--root", str(workspace.pairs)])

    assert raised.value.status == 2


def test_a_folder_of_features_is_told_from_one_of_pairs(tmp_path):
    image = NewImage(anomalous=False, group="nut", image_id=1, name="nut/0.png")
    said = {"split": "train", "fingerprint": "f"}
    write_features(tmp_path, "shard_0000", ["nut"], [image], np.zeros((1, 3, 4, 8), np.float16), said)
    with pytest.raises(BadRequest, match="features of images, not pairs; wanted a folder such as data/pairs"):
        main(["shard_0000", "--root", str(tmp_path)])


def test_a_sheet_that_cannot_be_written_is_said_in_one_line(workspace, tmp_path):
    with pytest.raises(BadRequest, match=r"cannot write .*sheet\.png"):
        main(["shard_0000", "--root", str(workspace.pairs), "--png", str(tmp_path / "no" / "sheet.png")])


@pytest.mark.parametrize(
    ("changed_at", "mask_at", "fault"),
    [
        ((0, 0), (3, 3), "pair 0 differs outside its mask"),
        (None, (3, 3), "pair 0 has a region of its mask without a visible change"),
    ],
)
def test_verify_finds_a_pair_that_breaks_a_law(tmp_path, changed_at, mask_at, fault):
    pair, mask = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((8, 8), np.bool_)
    mask[mask_at] = True
    if changed_at is not None:
        pair[1][changed_at] = 200
    attributes = {
        "split": "train",
        "fingerprint": "",
        "stage": "synth",
        "seed": 0,
        "code": {"version": "0"},
        "parameters": {"visible": {"min_contrast": 12, "min_share": 0.3}},
    }
    write_shard(tmp_path, "shard_0000", FORM, [NewPair(*pair, mask, "inpaint", "all", 0, 0, {})], attributes, {})

    with pytest.raises(Failure, match=f"{fault}.*run `dvc repro "):
        main(["shard_0000", "--root", str(tmp_path), "--verify"])


def test_describe_reads_a_shard_of_every_kind(workspace):
    path = shard_path(workspace.pairs, "shard_0000")
    assert describe(path, open_shard(workspace.pairs, "shard_0000")).ratio > 1


def test_a_wrong_number_of_samples_and_a_sheet_of_nothing_are_refused(workspace, tmp_path, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["shard_0000", "--root", str(workspace.pairs), "--verify", "--sample", "-1"])
    assert raised.value.code == 2
    assert "argument --sample: invalid" in capsys.readouterr().err
    attributes = {"split": "train", "fingerprint": "", "stage": "synth", "seed": 0, "parameters": {}}
    write_shard(tmp_path, "shard_0000", FORM, [], {**attributes, "code": {"version": "0"}}, {})
    with pytest.raises(BadRequest, match="shard_0000: it holds no pair to draw"):
        main(["shard_0000", "--root", str(tmp_path), "--png", str(tmp_path / "sheet.png")])


def test_what_a_shard_says_is_text_and_never_markup(tmp_path, capsys):
    attributes = {
        "split": "train",
        "fingerprint": "",
        "stage": "synth",
        "seed": 0,
        "code": {"version": "0"},
        "parameters": {"a[/x]": "[link=javascript:alert(1)]x[/link]", "b": "<script>"},
    }
    pair, mask = np.zeros((2, 8, 8, 3), np.uint8), np.zeros((8, 8), np.bool_)
    write_shard(
        tmp_path, "shard_0000", FORM, [NewPair(*pair, mask, "unchanged", "all", 0, -1, {})], attributes, {"[bold]": 1}
    )

    assert main(["shard_0000", "--root", str(tmp_path), "--html", str(tmp_path / "page.html")]) == 0

    page = (tmp_path / "page.html").read_text()
    assert "[link=javascript:alert(1)]x[/link]" in page
    assert "<a " not in page
    assert "<script>" not in page
    assert "[bold]" in capsys.readouterr().out
