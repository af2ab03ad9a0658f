import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.images import read_image, resize_image
from model.inference.drawing import heat_map
from model.inference.engine import Engine, to_batch
from model.inference.onnx_file import write_onnx
from model.metacan import MetaCAN
from model.metauas.few_shot import compare_many
from model.metauas.network import MetaUAS
from model.predict import main
from tests.conftest import ROOT
from tests.model.checkpoints import save_checkpoint
from tests.model.clip_file import save_clip
from tests.model.lively import lively
from tests.model.metacan.tiny import ARGUMENTS
from tests.model.metacan.tiny import save as save_metacan

SMALL = {"encoder": "test_resnet", "decoder_channels": (16, 16, 8, 8), "similarity": "cosine"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return lively(MetaUAS(**SMALL))


@pytest.fixture
def folder(tmp_path, network):
    """A checkpoint trained at 32 x 64 px, two normal images, and queries of several sizes in two folders."""
    save_checkpoint(tmp_path / "best.ckpt", network, size=(32, 64))
    rng = np.random.default_rng([0])
    for name, shape in {
        "normal/0.png": (40, 70),
        "normal/1.png": (32, 64),
        "query/good/0.png": (33, 50),
        "query/hole/0.png": (64, 64),
        "query/hole/1.jpg": (20, 90),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    (tmp_path / "query" / "hole" / "notes.txt").write_text("not an image")
    return tmp_path


def call(folder, *more, prompt="normal/0.png", query="query/*/*", out="heat", checkpoint="best.ckpt"):
    named = {"checkpoint": checkpoint, "prompt": prompt, "query": query, "out": out}
    return main([word for key, value in named.items() for word in (f"--{key}", str(folder / value))] + list(more))


def read(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def expected_map(network, folder, prompt, query):
    sides = [to_batch([read(folder / name)], (32, 64)) for name in (prompt, query)]
    with torch.inference_mode():
        return network(*sides).sigmoid()[0, 0].numpy()


def test_maps_lie_as_the_queries_do_and_are_the_network_s(folder, network):
    call(folder, "--npy", "--json", "--batch-size", "2")
    files = sorted(path.relative_to(folder / "heat").as_posix() for path in (folder / "heat").rglob("*.*"))
    stems = ["good/0", "hole/0", "hole/1"]
    assert files == sorted(["scores.json", *(f"{stem}{suffix}" for stem in stems for suffix in (".npy", ".png"))])
    said = json.loads((folder / "heat" / "scores.json").read_text())
    assert said["size"] == [32, 64]
    for query in ("good/0.png", "hole/0.png", "hole/1.jpg"):
        found = np.load((folder / "heat" / query).with_suffix(".npy"))
        assert found.dtype == np.float32
        expected = expected_map(network, folder, "normal/0.png", f"query/{query}")
        assert np.abs(found - expected).max() < 1e-4
        assert said["queries"][str(folder / "query" / query)]["score"] == found.max()
        assert np.array_equal(read((folder / "heat" / query).with_suffix(".png")), heat_map(found))


def test_one_query_gives_one_file_and_its_score(folder, capsys):
    call(folder, "--own-size", "--npy", query="query/hole/1.jpg", out="one.png")
    assert read(folder / "one.png").shape == (20, 90, 3)
    assert f"score {np.load(folder / 'one.npy').max():.4f}" in capsys.readouterr().out


def test_an_overlay_shows_the_image_under_the_map(folder):
    call(folder, "--overlay", "--own-size", "--npy", query="query/hole/0.png", out="one.png")
    expected = heat_map(np.load(folder / "one.npy"), read(folder / "query/hole/0.png"))
    assert np.array_equal(read(folder / "one.png"), expected)


@pytest.mark.parametrize("together", ["maps", "features", "best"])
def test_several_prompts_are_used_together(folder, network, together):
    call(folder, "--npy", "--together", together, prompt="normal", query="query/hole", out=together)
    query = "query/hole/0.png"
    maps = [expected_map(network, folder, f"normal/{number}.png", query) for number in range(2)]
    found = np.load(folder / together / "0.npy")
    if together == "maps":
        assert np.abs(found - np.mean(maps, axis=0)).max() < 1e-4
    elif together == "best":
        assert min(np.abs(found - one).max() for one in maps) < 1e-4
    else:
        sides = [to_batch([read(folder / name)], (32, 64)) for name in ("normal/0.png", "normal/1.png", query)]
        with torch.inference_mode():
            first, second, features = map(network.encode, sides)
            expected = compare_many(network, [first, second], features, "features")
        assert np.abs(found - expected[0, 0].numpy()).max() < 1e-4


def test_a_query_that_is_in_the_pool_is_its_own_best_prompt(folder, network):
    call(folder, "--npy", "--together", "best", prompt="normal", query="normal", out="same")
    for number in range(2):
        expected = expected_map(network, folder, f"normal/{number}.png", f"normal/{number}.png")
        assert np.abs(np.load(folder / "same" / f"{number}.npy") - expected).max() < 1e-4


def test_bfloat16_gives_nearly_the_same(folder, network):
    call(folder, "--npy", "--bf16", query="query/hole", out="bf16")
    expected = expected_map(network, folder, "normal/0.png", "query/hole/0.png")
    assert np.abs(np.load(folder / "bf16" / "0.npy") - expected).max() < 0.05


def test_the_onnx_file_gives_the_same_maps(folder, network):
    write_onnx(network, folder / "metauas.onnx", (64, 64), shared_prompt=True)
    common = {"prompt": "normal", "query": "query/hole"}
    call(folder, "--npy", "--size", "64", out="torch", **common)
    call(folder, "--npy", out="onnx", checkpoint="metauas.onnx", **common)
    for name in ("0.npy", "1.npy"):
        assert np.abs(np.load(folder / "torch" / name) - np.load(folder / "onnx" / name)).max() < 1e-4
    with pytest.raises(BadRequest, match="an ONNX file gives maps only"):
        call(folder, "--together", "best", checkpoint="metauas.onnx", **common)
    with pytest.raises(BadRequest, match=r"is for one look at 64 x 64 px; leave --size and its like out"):
        call(folder, "--size", "32", checkpoint="metauas.onnx", **common)
    with pytest.raises(BadRequest, match="runs on the CPU in float32"):
        call(folder, "--bf16", checkpoint="metauas.onnx", **common)


def test_images_are_stretched_with_corners_on_corners():
    image = np.array([[[0, 0, 0], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(to_batch([image], (1, 5))[0, 0, 0], [0, 0.25, 0.5, 0.75, 1])
    assert not to_batch([image], (1, 5))[0, 1:].any()


@pytest.mark.parametrize(
    ("more", "changed", "said"),
    [
        ([], {"query": "query/*.png"}, "no image there; wanted a file, folder or glob"),
        ([], {"out": "one.png"}, "one file for 3 queries; pass a folder"),
        ([], {"out": "query", "query": "query/good/0.png"}, None),
        ([], {"out": "query/good", "query": "query/good"}, "would be written over a query"),
        ([], {"out": "normal", "query": "query/good"}, "would be written over a prompt"),
        (["--size", "50"], {}, "--size is 50; wanted a multiple of 32"),
        (["--batch-size", "0"], {}, "--batch-size is 0"),
        (["--device", "abacus"], {}, "--device abacus"),
        ([], {"checkpoint": "nowhere.ckpt"}, "no such checkpoint"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(folder, more, changed, said):
    if said is None:
        assert call(folder, *more, **changed) == 0
        return
    before = sorted(folder.rglob("*"))
    with pytest.raises(BadRequest, match=said):
        call(folder, *more, **changed)
    assert sorted(folder.rglob("*")) == before


def test_what_cannot_be_read_is_left_out_and_named_at_the_end(folder, network):
    (folder / "query/good/1.png").write_bytes(b"no image")
    cv2.imwrite(str(folder / "query/hole/2.png"), np.full((9, 9), 247, np.uint16))
    message = (
        r"^predict: 2 of 5 queries have no map: .*good/1\.png: not an image \(8 bytes\); wanted .*;"
        r" .*hole/2\.png: 16-bit image whose largest value is 247; .*$"
    )
    with pytest.raises(Failure, match=message) as caught:
        call(folder, "--npy", "--json", "--batch-size", "1")
    assert caught.value.status == 1
    expected = expected_map(network, folder, "normal/0.png", "query/hole/1.jpg")
    assert np.abs(np.load(folder / "heat/hole/1.npy") - expected).max() < 1e-4
    said = json.loads((folder / "heat/scores.json").read_text())
    assert len(said["queries"]) == 3
    assert {Path(name).name: reason.partition(": ")[2][:12] for name, reason in said["failed"].items()} == {
        "1.png": "not an image",
        "2.png": "16-bit image",
    }


def test_of_many_failures_the_first_are_named(folder):
    for number in range(5):
        (folder / f"query/good/broken{number}.png").touch()
    with pytest.raises(Failure, match=r"5 of 8 queries .*broken0\.png.*broken1\.png.*broken2\.png.*; and 2 more$"):
        call(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_map_that_is_no_number_is_no_picture(folder, monkeypatch, value):
    def compare(queries):
        maps = torch.zeros(len(queries), 1, 32, 64)
        maps[queries.mean(dim=(1, 2, 3)) > 0.9, 0, 3, 4] = value
        return maps

    cv2.imwrite(str(folder / "query/hole/white.png"), np.full((9, 9, 3), 255, np.uint8))
    monkeypatch.setattr("model.predict.open_engine", lambda *_: Engine(compare, (32, 64), "corners", "max"))
    with pytest.raises(Failure, match=r"1 of 4 queries .*white\.png: the anomaly map holds NaN or infinity; wanted"):
        call(folder)
    assert sorted(path.name for path in (folder / "heat").rglob("*.png")) == ["0.png", "0.png", "1.png"]


def test_a_killed_run_leaves_a_line_for_each_map_it_wrote(folder, monkeypatch):
    def compare(queries):
        if (queries > 0.99).all():
            raise KeyboardInterrupt
        return queries[:, :1]

    cv2.imwrite(str(folder / "query/hole/white.png"), np.full((9, 9, 3), 255, np.uint8))
    (folder / "query/good/broken.png").touch()
    monkeypatch.setattr("model.predict.open_engine", lambda *_: Engine(compare, (32, 64), "corners", "max"))
    with pytest.raises(KeyboardInterrupt):
        call(folder, "--json", "--batch-size", "1")
    lines = [json.loads(line) for line in (folder / "heat/scores.jsonl").read_text().splitlines()]
    assert [Path(line["query"]).name for line in lines] == ["0.png", "broken.png", "0.png", "1.jpg"]
    assert [set(line) for line in lines[:2]] == [{"query", "score", "map"}, {"query", "error"}]
    assert not (folder / "heat/scores.json").exists()
    (folder / "query/hole/white.png").unlink()
    (folder / "query/good/broken.png").unlink()
    call(folder, "--json")
    assert len(json.loads((folder / "heat/scores.json").read_text())["queries"]) == 3
    assert not (folder / "heat/scores.jsonl").exists()


def test_what_cannot_be_written_is_one_line(folder):
    (folder / "heat").write_text("a file where the folder should be")
    with pytest.raises(Failure, match=r"cannot write .*heat/good/0\.png: Not a directory"):
        call(folder)


def test_a_prompt_among_the_queries_is_told(folder, capsys):
    call(folder, prompt="query/good/0.png")
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert warned == [f"warning: 1 of 3 queries are prompts, too: {folder}/query/good/0.png"]
    call(folder)
    assert "warning" not in capsys.readouterr().err


def test_the_command_ends_with_one_line_and_a_status(folder):
    (folder / "query" / "broken.png").write_bytes(b"no image")
    command = [
        sys.executable,
        "-m",
        "model.predict",
        "--checkpoint",
        "best.ckpt",
        "--prompt",
        "normal/0.png",
        "--out",
        "x",
    ]
    for query, status, said in [("nowhere", 2, "no image there"), ("query/broken.png", 1, "not an image")]:
        ended = subprocess.run(
            [*command, "--query", query, "--out", "heat"],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stderr.count("error: ")) == (status, 1)
        assert said in ended.stderr.splitlines()[-1]


def test_a_metacan_scores_by_itself_and_lays_its_map_on_the_middle(tmp_path):
    clip = save_clip(tmp_path / "clip.pt")
    network = MetaCAN.from_clip(clip, **ARGUMENTS)
    checkpoint = save_metacan(tmp_path / "best.ckpt", network)
    rng = np.random.default_rng(0)
    for name, shape in (("normal", (60, 60, 3)), ("query", (60, 90, 3))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, shape, np.uint8))
    look = ["--checkpoint", str(checkpoint), "--prompt", str(tmp_path / "normal.png"), "--clip-weights", str(clip)]
    look += ["--query", str(tmp_path / "query.png"), "--out", str(tmp_path / "heat"), "--json", "--npy", "--own-size"]
    assert main(look) == 0
    shots, queries = (
        torch.from_numpy(resize_image(read_image(tmp_path / f"{name}.png"), network.size, "crop")).permute(2, 0, 1)[
            None
        ]
        for name in ("normal", "query")
    )
    with torch.no_grad():
        wanted = float(network.eval()(shots, queries).score)
    said = json.loads((tmp_path / "heat" / "scores.json").read_text())["queries"]
    assert next(iter(said.values()))["score"] == pytest.approx(wanted, rel=1e-5)
    shown = np.load(tmp_path / "heat" / "query.npy")
    assert shown.shape == (60, 90)
    assert not shown[:, :15].any()
    assert not shown[:, 75:].any()
    assert shown[:, 15:75].all()
    for size in ("64", "240"):
        with pytest.raises(BadRequest, match="a MetaCAN sees 48 x 48 px and all prompts at once"):
            main([*look, "--size", size])


@pytest.fixture
def normals(folder):
    rng = np.random.default_rng([1])
    for number in range(20):
        write_noise(folder / "good" / f"{number:02}.png", (32, 64), rng)
    return folder / "good"


def write_noise(path, shape, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rng.integers(100, 120, (*shape, 3), np.uint8))


def test_normal_images_set_a_threshold_and_each_query_is_decided(folder, normals, capsys):
    look = ["--checkpoint", str(folder / "best.ckpt"), "--prompt", str(normals / "00.png"), "--normals", str(normals)]
    look += ["--false-alarms", "0.1", "--out", str(folder / "out"), "--json", "--npy", "--overlay"]
    assert main([*look, "--query", str(folder / "query" / "*" / "*")]) == 0
    said = json.loads((folder / "out" / "scores.json").read_text())
    threshold = said["threshold"]
    assert threshold["normals"] == 19  # the prompt is none of them
    assert threshold["vouched"] <= 0.1
    shown = capsys.readouterr().out
    assert (
        "by 19 normal images: on average at most 10.0% of such images are above it, 19.0% in nine sets of ten" in shown
    )
    assert f"{sum(line['anomalous'] for line in said['queries'].values())} of 3 queries are anomalous" in shown
    for line in said["queries"].values():
        found = np.load(Path(line["map"]).with_suffix(".npy"))
        assert line["score"] == pytest.approx(float(found.max()))
        assert line["anomalous"] == (line["score"] > threshold["score"])
        wanted = (found > threshold["pixel"]).sum() if line["anomalous"] else 0
        assert sum(region["area_px"] for region in line["regions"]) == wanted
    assert main([*look, "--query", *map(str, sorted(normals.iterdir())[1:])]) == 0
    again = json.loads((folder / "out" / "scores.json").read_text())["queries"]
    assert sum(line["anomalous"] for line in again.values()) <= 1


def test_too_few_normal_images_are_told_with_what_they_can_vouch_for(folder, normals, capsys):
    look = ["--checkpoint", str(folder / "best.ckpt"), "--prompt", str(normals / "00.png")]
    look += ["--query", str(folder / "query" / "good" / "0.png"), "--out", str(folder / "heat.png")]
    assert main([*look, "--normals", str(normals)]) == 0
    shown = capsys.readouterr().out
    assert "by 19 normal images, too few for less: on average at most 5.0% of such images" in shown
    assert shown.rstrip().endswith(("normal", "anomalous"))
    with pytest.raises(BadRequest, match="1 normal images that are neither prompts nor copies; wanted 2"):
        main([*look, "--normals", str(normals / "00.png"), str(normals / "01.png")])
    (normals / "05.png").write_bytes(b"no image")
    with pytest.raises(Failure, match=r"--normals: .*05.png: not an image .* all must be read to set a threshold"):
        main([*look, "--normals", str(normals)])


def test_copies_count_once_and_a_copy_of_the_prompt_not_at_all(folder, normals, capsys):
    look = ["--checkpoint", str(folder / "best.ckpt"), "--query", str(folder / "query" / "good" / "0.png")]
    look += ["--out", str(folder / "heat.png"), "--normals", str(normals), str(normals.resolve() / "0*.png")]
    (folder / "prompt.png").write_bytes((normals / "00.png").read_bytes())
    (normals / "copy.png").write_bytes((normals / "01.png").read_bytes())
    main([*look, "--prompt", str(folder / "prompt.png")])
    assert "by 19 normal images" in capsys.readouterr().out


def test_normal_images_are_never_written_over(folder, normals):
    (folder / "q").mkdir()
    (folder / "q" / "00.png").write_bytes((normals / "01.png").read_bytes())
    before = (normals / "00.png").read_bytes()
    look = ["--checkpoint", str(folder / "best.ckpt"), "--prompt", str(normals / "02.png"), "--normals", str(normals)]
    with pytest.raises(BadRequest, match=r"00\.png"):
        main([*look, "--query", str(folder / "q"), "--out", str(normals)])
    assert (normals / "00.png").read_bytes() == before


def test_a_rate_without_normal_images_is_refused(folder, normals):
    look = ["--checkpoint", str(folder / "best.ckpt"), "--prompt", str(normals / "00.png")]
    with pytest.raises(BadRequest, match="--false-alarms: wanted --normals too"):
        main([*look, "--query", str(normals), "--out", str(folder / "out"), "--false-alarms", "0.1"])
