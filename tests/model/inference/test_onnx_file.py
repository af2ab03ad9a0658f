import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import onnx
import openvino
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.export import main
from model.inference.onnx_file import notes_inside, open_onnx, write_onnx
from model.metauas.network import MetaUAS
from model.onenip.network import OneNIP
from model.predict import main as predict_main
from model.scores import image_scores
from tests.conftest import ROOT
from tests.model.checkpoints import save_checkpoint
from tests.model.lively import lively
from tests.model.metacan.tiny import save as save_metacan
from tests.model.metacan.tiny import tiny

SMALL = {"encoder": "test_efficientnet", "decoder_channels": (16, 16, 8, 8), "similarity": "cosine"}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return lively(MetaUAS(**SMALL))


def images(count, side_px, seed=0):
    return torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shared_prompt", [False, True])
def test_the_command_s_file_computes_what_the_network_does_for_any_batch(network, tmp_path, capsys, shared_prompt):
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", network, size=(64, 64))
    path = tmp_path / "out" / "metauas.onnx"
    main(["--checkpoint", str(checkpoint), "--out", str(path), *(["--shared-prompt"] if shared_prompt else [])])
    assert "64 x 64 px, within" in capsys.readouterr().out
    assert list(path.parent.iterdir()) == [path]
    onnx = open_onnx(path)
    for batch in (1, 2, 5):
        prompt, query = images(1 if shared_prompt else batch, 64), images(batch, 64, seed=1)
        found = onnx.run(None, {"prompt": prompt.numpy(), "query": query.numpy()})[0]
        with torch.inference_mode():
            expected = network.compare(network.encode(prompt), network.encode(query)).sigmoid().numpy()
        assert found.shape == (batch, 1, 64, 64)
        assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize(("size", "wanted"), [((), (32, 64)), (("96", "32"), (96, 32))])
def test_a_file_need_not_be_square(network, tmp_path, size, wanted):
    checkpoint = save_checkpoint(tmp_path / "best.ckpt", network, size=(32, 64))
    options = ["--size", *size] if size else []
    main(["--checkpoint", str(checkpoint), "--out", str(tmp_path / "metauas.onnx"), *options])
    assert tuple(open_onnx(tmp_path / "metauas.onnx").get_inputs()[1].shape[2:]) == wanted


@pytest.mark.parametrize("shared_prompt", [False, True])
def test_the_file_of_a_onenip_gives_its_maps(tmp_path, shared_prompt):
    torch.manual_seed(0)
    network = OneNIP("test_resnet", size=(64, 96), encoder_layers=1, decoder_layers=1).eval()
    with pytest.raises(BadRequest, match="has no scale c of its maps"):
        write_onnx(network, tmp_path / "onenip.onnx", (64, 96))
    network.normaliser.fill_(3.0)
    with pytest.raises(BadRequest, match=r"size is \[64, 64\]; this OneNIP is of \[64, 96\] alone"):
        write_onnx(network, tmp_path / "onenip.onnx", (64, 64))

    write_onnx(network, tmp_path / "onenip.onnx", (64, 96), shared_prompt=shared_prompt)

    onnx = open_onnx(tmp_path / "onenip.onnx")
    assert [value.name for value in onnx.get_outputs()] == ["map"]
    for batch in (1, 2, 5):
        prompt, query = (torch.rand(count, 3, 64, 96) for count in (1 if shared_prompt else batch, batch))
        found = onnx.run(None, {"prompt": prompt.numpy(), "query": query.numpy()})[0]
        with torch.inference_mode():
            expected = network.relative_map(network.compare(network.encode(prompt), network.encode(query))).numpy()
        assert np.abs(found - expected).max() < 1e-4


def test_a_file_that_computes_something_else_is_not_left_behind(network, tmp_path, monkeypatch):
    written = SimpleNamespace(save=lambda path: Path(path).write_bytes(b"another network"))
    monkeypatch.setattr("model.inference.onnx_file._traced", lambda *_, **__: written)
    monkeypatch.setattr("model.inference.onnx_file._difference", lambda *_, **__: 0.5)
    with pytest.raises(Failure, match=r"metauas\.onnx: its maps differ from the network's"):
        write_onnx(network, tmp_path / "metauas.onnx", (32, 32))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_request_is_refused(network, tmp_path):
    with pytest.raises(BadRequest, match="size is 96 x 100; wanted multiples of 32"):
        write_onnx(network, tmp_path / "metauas.onnx", (96, 100))
    (tmp_path / "other.onnx").write_bytes(b"no graph")
    with pytest.raises(BadRequest, match=r"other\.onnx: onnxruntime cannot read it"):
        open_onnx(tmp_path / "other.onnx")
    checkpoint = save_checkpoint(tmp_path / "wide.ckpt", network, size=(32, 64))
    with pytest.raises(BadRequest, match="--size 32 64 96: wanted a side, or height and width"):
        main(["--checkpoint", str(checkpoint), "--size", "32", "64", "96", "--out", str(tmp_path / "metauas.onnx")])
    with pytest.raises(BadRequest, match=r"wide\.ckpt: would be written over the checkpoint"):
        main(["--checkpoint", str(checkpoint), "--out", str(tmp_path / "x" / ".." / "wide.ckpt")])


SHOTS = {"metauas": ["prompt.png", "other.png"], "onenip": ["prompt.png"]}


@pytest.fixture(scope="module", params=SHOTS)
def known(request, network, tmp_path_factory):
    """A folder with a checkpoint, pictures, and the file that has prompts and a threshold inside."""
    folder, rng = tmp_path_factory.mktemp(request.param), np.random.default_rng(0)
    for name in ("prompt.png", "other.png", "query.png", *(f"good/{number}.png" for number in range(9))):
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), cv2.GaussianBlur(rng.integers(0, 256, (80, 100, 3), np.uint8), (7, 7), 2))
    if request.param == "metauas":
        save_checkpoint(folder / "best.ckpt", network, size=(64, 96))
    else:
        torch.manual_seed(0)
        onenip = OneNIP("test_resnet", size=(64, 96), encoder_layers=1, decoder_layers=1).eval()
        onenip.normaliser.fill_(3.0)
        save_checkpoint(folder / "best.ckpt", onenip, size=(64, 96), key="onenip")
    prompts = ["--prompt", *(str(folder / name) for name in SHOTS[request.param])]
    normals = ["--normals", str(folder / "good"), "--false-alarms", "0.2"]
    main(["--checkpoint", str(folder / "best.ckpt"), "--out", str(folder / "nut.onnx"), *prompts, *normals])
    return folder, prompts, normals


def test_a_file_with_its_prompts_inside_decides_as_the_checkpoint_does(known):
    folder, prompts, normals = known
    said = {}
    for name, look in (("best.ckpt", [*prompts, *normals]), ("nut.onnx", [])):
        query = [
            "--query",
            str(folder / "query.png"),
            str(folder / "good" / "3.png"),
            "--out",
            str(folder / f"of_{name}"),
        ]
        assert predict_main(["--checkpoint", str(folder / name), *look, *query, "--json"]) == 0
        said[name] = json.loads((folder / f"of_{name}" / "scores.json").read_text())
    ours, its = said.values()
    assert its["threshold"]["vouched"] == pytest.approx(0.2)
    assert its["threshold"]["score"] == pytest.approx(ours["threshold"]["score"], abs=1e-4)
    for one, other in zip(ours["queries"].values(), its["queries"].values(), strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def test_such_a_file_says_what_it_is_and_takes_any_batch(known):
    folder, prompts, _ = known
    opened = open_onnx(folder / "nut.onnx")
    notes = notes_inside(opened, folder)
    assert [prompt.name for prompt in notes.prompts] == [Path(name).name for name in prompts[1:]]
    assert notes.checkpoint.sha256 == hashlib.sha256((folder / "best.ckpt").read_bytes()).hexdigest()
    assert notes.size == [64, 96]
    for batch in (1, 5):
        found, scores = opened.run(["map", "score"], {"query": images(batch, 96)[:, :, :64].numpy()})
        np.testing.assert_allclose(scores, image_scores(found[:, 0], notes.image_score), atol=1e-5)


def test_openvino_computes_what_the_network_does(network, tmp_path, known):
    path = tmp_path / "metauas.onnx"
    write_onnx(network, path, (64, 96))
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (1, 3):
        prompt, query = images(batch, 96)[:, :, :64], images(batch, 96, seed=1)[:, :, :64]
        found = compiled({"prompt": prompt.numpy(), "query": query.numpy()})[0]
        with torch.inference_mode():
            expected = network.compare(network.encode(prompt), network.encode(query)).sigmoid().numpy()
        assert np.abs(found - expected).max() < 1e-4

    folder, _, _ = known
    compiled = openvino.compile_model(folder / "nut.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    queries = images(5, 96, seed=2)[:, :, :64].numpy()
    found, expected = (
        compiled({"query": queries}),
        open_onnx(folder / "nut.onnx").run(["map", "score"], {"query": queries}),
    )
    for name, wanted in zip(("map", "score"), expected, strict=True):
        assert np.abs(found[name] - wanted).max() < 1e-4


def test_a_script_without_us_gives_the_same(known):
    folder, _, _ = known
    file, query = str(folder / "nut.onnx"), str(folder / "query.png")
    assert predict_main(["--checkpoint", file, "--query", query, "--out", str(folder / "ours.png"), "--json"]) == 0
    (ours,) = json.loads((folder / "scores.json").read_text())["queries"].values()
    command = [sys.executable, str(ROOT / "docs" / "onnx_alone.py"), file, query, str(folder / "heat.png")]
    said = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, cwd=folder).stdout
    assert said == f"score {ours['score']:.4f}, anomalous: {ours['anomalous']}\n"
    difference = cv2.imread(str(folder / "heat.png")).astype(int) - cv2.imread(str(folder / "ours.png"))
    assert np.abs(difference).mean() < 1


def test_what_does_not_go_together_with_prompts_inside_is_told(known, tmp_path):
    folder, prompts, normals = known
    look = ["--query", str(folder / "query.png"), "--out", str(tmp_path / "heat.png")]
    file = ["--checkpoint", str(folder / "nut.onnx")]
    for more, said in (
        (prompts, r"has its prompts inside \(prompt.png.*\); leave --prompt out"),
        (["--own-size"], "its threshold is of its own size and score; leave --own-size and --score out"),
        (["--score", "top"], "its threshold is of its own size and score"),
        (["--size", "256"], "is for one look at 64 x 96 px"),
        (["--together", "best"], "has its prompts inside, whose maps are averaged; leave --together out"),
    ):
        with pytest.raises(BadRequest, match=said):
            predict_main([*file, *look, *more])
    with pytest.raises(
        BadRequest, match=r"--prompt: wanted normal images to compare with; .*best.ckpt has none inside"
    ):
        predict_main(["--checkpoint", str(folder / "best.ckpt"), *look])
    for options in (normals, [*prompts, "--shared-prompt"]):
        with pytest.raises(BadRequest, match="--normals and --prompt go together, and --shared-prompt is for"):
            main(["--checkpoint", str(folder / "best.ckpt"), "--out", str(tmp_path / "x.onnx"), *options])


@pytest.mark.parametrize(
    ("metadata", "said"), [({}, "its metadata have no 'metauas-pipeline'"), ({"metauas-pipeline": "{}"}, "not of this")]
)
def test_a_file_whose_metadata_were_lost_is_told(known, tmp_path, metadata, said):
    folder, _, _ = known
    model = onnx.load(folder / "nut.onnx")
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, metadata | {"onnx.infer": "onnxruntime.quant"})
    onnx.save(model, tmp_path / "NUT.ONNX")
    look = ["--query", str(folder / "query.png"), "--out", str(tmp_path / "heat.png")]
    with pytest.raises(BadRequest, match=said):
        predict_main(["--checkpoint", str(tmp_path / "NUT.ONNX"), *look])


def test_what_tools_add_to_the_metadata_does_no_harm(known, tmp_path):
    folder, _, _ = known
    model = onnx.load(folder / "nut.onnx")
    model.metadata_props.add(key="onnx.infer", value="onnxruntime.quant")
    onnx.save(model, tmp_path / "nut.onnx")
    assert notes_inside(open_onnx(tmp_path / "nut.onnx"), tmp_path).size == [64, 96]


def test_a_metacan_is_not_exported(tmp_path):
    checkpoint = save_metacan(tmp_path / "best.ckpt", tiny())
    with pytest.raises(BadRequest, match="a MetaCAN, whose image tower is a file of its own, is not exported"):
        main(["--checkpoint", str(checkpoint), "--out", str(tmp_path / "x.onnx")])
