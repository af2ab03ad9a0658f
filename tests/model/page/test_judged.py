import json

import cv2
import numpy as np
import pytest
import torch

from configs.errors import BadRequest, Failure
from model.export import main as export
from model.inference import score_of
from model.inference.engine import Speed, View, open_engine
from model.inference.looking import predict
from model.metauas.network import MetaUAS
from model.page.judged import (
    Judged,
    Levels,
    Network,
    Round,
    histogram,
    judge,
    names_inside,
    overlay_file,
    scores_file,
    show,
)
from tests.model.checkpoints import save_checkpoint
from tests.model.lively import lively

RATE = 0.5


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network, and images of several sizes."""
    folder = tmp_path_factory.mktemp("judged")
    torch.manual_seed(0)
    network = lively(MetaUAS(encoder="test_resnet", decoder_channels=(16, 16, 8, 8), similarity="cosine"))
    save_checkpoint(folder / "best.ckpt", network, size=(32, 64))
    rng = np.random.default_rng(0)
    for number in range(8):
        sides = (40 + 30 * number, 1000) if number == 7 else (40 + 30 * number, 60)
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (*sides, 3), dtype=np.uint8))
    return Network(folder / "best.ckpt"), [folder / f"{number}.png" for number in range(8)]


def round_of(made, tmp_path, normals=(), queries=None):
    network, images = made
    told = []
    found = judge(
        network,
        images[:1],
        images[4:] if queries is None else queries,
        normals,
        RATE,
        tmp_path,
        lambda *by: told.append(by),
    )
    return found, told


def test_what_is_judged_are_the_scores_and_maps_of_predict(made, tmp_path):
    network, images = made
    found, told = round_of(made, tmp_path)

    engine = open_engine(network.checkpoint, images[:1], View(), "maps", Speed(), 1)
    for one, (path, wanted) in zip(found.judged, predict(engine, images[4:], 1), strict=True):
        assert one.name == path.name
        assert one.score == pytest.approx(score_of(wanted, "max"), abs=1e-6)
        assert np.load(one.map) == pytest.approx(wanted.map, abs=1e-6)
    assert found.begin == Levels(0.5, 0.5)
    assert [share for share, _ in told] == sorted(share for share, _ in told)


def test_pictures_keep_their_aspect_and_are_shown_no_larger_than_a_screen(made, tmp_path):
    found, _ = round_of(made, tmp_path)

    shapes = [cv2.imread(str(one.picture)).shape for one in found.judged]
    assert shapes == [(160, 60, 3), (190, 60, 3), (220, 60, 3), (192, 768, 3)]
    shown = show(found.judged[3], Levels(0, 0), 1.0)
    assert shown.picture.shape == shown.overlay.shape == (192, 768, 3)


def test_further_normal_images_say_where_the_thresholds_begin(made, tmp_path):
    found, _ = round_of(made, tmp_path, normals=made[1][1:4])

    assert found.threshold.normals == 3
    assert found.begin == Levels(found.threshold.score, found.threshold.pixel)


def test_a_query_that_cannot_be_read_is_named_and_the_others_are_judged(made, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    (tmp_path / "kept").mkdir()

    found, _ = round_of(made, tmp_path / "kept", queries=[broken, made[1][4]])

    assert [one.name for one in found.judged] == ["4.png"]
    assert found.failed == ("broken.png: not an image (10 bytes); wanted png, jpg, jpeg, bmp, tif, tiff or webp",)
    with pytest.raises(Failure, match=r"^none of 1 images could be judged: broken\.png: not an image"):
        round_of(made, tmp_path / "kept", queries=[broken])
    with pytest.raises(BadRequest, match="no images to judge"):
        round_of(made, tmp_path / "kept", queries=[])


def test_files_of_one_name_are_told_apart(made, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "4.png").write_bytes(made[1][4].read_bytes())

    found, _ = round_of(made, tmp_path, queries=[tmp_path / "one" / "4.png", tmp_path / "two" / "4.png"])

    assert [one.name for one in found.judged] == ["4.png", "4.png (2)"]


def some_round(folder, scores, level=0.5):
    judged = tuple(Judged(f"{place}.png", score, score, folder, folder) for place, score in enumerate(scores))
    return Round(folder, ("normal.png",), judged, (), "max", None, Levels(level, level))


@pytest.mark.parametrize("level", [0.0, 0.3, 0.31, 0.9, 1.0])
def test_what_is_above_is_what_the_file_and_the_histogram_say(tmp_path, level):
    scores = [0.3, 0.9, 0.31, 0.1]
    found = some_round(tmp_path, scores)

    above = found.above(level)
    assert above == [place for place, score in enumerate(scores) if score > level]
    said = json.loads(scores_file(found, Levels(level, level)).read_text())
    assert [query["anomalous"] for query in said["queries"]] == [place in above for place in range(4)]
    labels = [text.get_text() for text in histogram(scores, level, 1.0).axes[0].get_legend().get_texts()]
    assert labels == [f"normal: {4 - len(above)}", f"anomalous: {len(above)}"]


@pytest.mark.parametrize(("scores", "highest"), [([0.2], 1.0), ([0.2, 1.4], 2.0), ([3.0], 3.0)])
def test_a_slider_reaches_over_every_score(tmp_path, scores, highest):
    assert some_round(tmp_path, scores).highest == highest


def test_frames_are_drawn_where_an_anomalous_map_is_above_its_level(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 128, 3), 90, np.uint8))
    shown = np.zeros((32, 64), np.float32)
    shown[8:16, 16:32] = 0.8
    np.save(tmp_path / "a.npy", shown)
    one = Judged("a.png", 0.8, 0.8, tmp_path / "a.png", tmp_path / "a.npy")

    normal = show(one, Levels(0.8, 0.5), 0.5)
    assert not normal.anomalous
    assert normal.regions == []
    found = show(one, Levels(0.7, 0.5), 0.5)
    (box,) = found.regions
    assert found.anomalous
    assert (box.left, box.top, box.width, box.height) == (32, 16, 32, 16)
    assert not np.array_equal(found.overlay, normal.overlay)
    assert np.array_equal(show(one, Levels(0.8, 0.5), 0.0).overlay, found.picture)
    written = cv2.imread(str(overlay_file(Round(tmp_path, (), (one,), (), "max", None, Levels(0, 0)), 0, found)))
    assert np.array_equal(written[..., ::-1], found.overlay)


def test_an_exported_file_names_its_prompts_and_a_checkpoint_none(made, tmp_path):
    network, images = made
    assert names_inside(network) is None

    file = Network(tmp_path / "nut.onnx")
    export(["--checkpoint", str(network.checkpoint), "--prompt", str(images[0]), "--out", str(file.checkpoint)])
    assert names_inside(file) == ("0.png",)
    (tmp_path / "kept").mkdir()
    found = judge(file, [], images[4:6], [], RATE, tmp_path / "kept", lambda *_: None)
    assert found.prompts == names_inside(file)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(BadRequest, match="onnxruntime cannot read it"):
        names_inside(Network(tmp_path / "text.onnx"))
