import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.export import main
from model.inference.onnx_file import open_onnx, write_onnx
from model.metauas.network import MetaUAS
from model.onenip.network import OneNIP
from tests.model.checkpoints import save_checkpoint
from tests.model.lively import lively

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


@pytest.mark.parametrize(("size", "wanted"), [((), (32, 64)), (("64",), (64, 64)), (("96", "32"), (96, 32))])
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
    monkeypatch.setattr("model.inference.onnx_file.TOLERANCE", -1.0)
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
