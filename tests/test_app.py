"""The page in a real browser: Debian's Chromium, headless, driven by Playwright."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
import torch

from configs.errors import BadRequest
from model.app import main
from model.metauas.network import MetaUAS
from pipeline.shards.opened import open_shard
from tests.conftest import ROOT
from tests.model.checkpoints import save_checkpoint
from tests.model.lively import lively
from tests.pipeline.conftest import make_source

SIZE = (64, 64)
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint, images to drop on the page, and pairs with what they were made from beside them."""
    root = tmp_path_factory.mktemp("page")
    torch.manual_seed(2)
    network = lively(MetaUAS(encoder="test_resnet", decoder_channels=(16, 16, 8, 8), similarity="cosine"))
    head = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    head.weight.data *= 3000  # scores that are far apart
    save_checkpoint(root / "best.ckpt", network, size=SIZE)
    rng = np.random.default_rng(1)
    (root / "line").mkdir()
    for number in range(6):
        cv2.imwrite(
            str(root / "line" / f"{number}.png"), rng.integers(0, 40 * (number + 1), (80, 60, 3), dtype=np.uint8)
        )
    (root / "line" / "broken.png").write_text("no picture")
    (root / "line" / "notes.txt").write_text("no image")
    cv2.imwrite(str(root / "normal.png"), rng.integers(0, 40, (80, 60, 3), dtype=np.uint8))
    made = make_source(root / "data")
    made.make_inpainted()
    made.make_pairs(made.pairs)
    return root


@pytest.fixture(scope="module")
def address(folder):
    """Of a page that is served by the command itself."""
    command = [
        sys.executable,
        "-m",
        "model.app",
        "--checkpoint",
        folder / "best.ckpt",
        "--pairs",
        folder / "data/pairs",
    ]
    with subprocess.Popen([*command, "--no-browser"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as served:
        try:
            line = served.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/", line)
            assert found, line
            yield found[0]
        finally:
            served.terminate()
    assert not list((folder / "tmp").glob("metauas_page_*")), "what was dropped is deleted when the page ends"


@pytest.fixture(scope="module")
def page(address):
    """The page as Chromium shows it, and the addresses that it asked for."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on PATH: the page is not opened in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not opened in a browser")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport={"width": 1600, "height": 1000})
        opened.set_default_timeout(WAIT_MS)
        asked = []
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address)
        yield opened, asked
        browser.close()


def wait_for(opened, element, pattern):
    """The text of an element once it matches."""
    until = time.monotonic() + WAIT_MS / 1000
    while not (found := re.search(pattern, opened.inner_text(element).replace("\n", " "))):
        assert time.monotonic() < until, f"{element} says {opened.inner_text(element)!r}, wanted {pattern!r}"
        time.sleep(0.1)
    return found


def drop(opened, element, path, stem):
    opened.set_input_files(f"{element} input[type=file]", path)
    wait_for(opened, element, rf"\b{stem}\s+\.png")


def judge(opened, folder):
    drop(opened, "#prompts", folder / "normal.png", "normal")
    drop(opened, "#folder", folder / "line", "5")
    opened.click("#judge")
    return wait_for(opened, "#count", r"(\d) of 6 above 0\.5000")


def test_a_dropped_folder_is_judged_and_the_threshold_decides(page, folder):
    opened, _ = page
    judge(opened, folder)
    assert "not judged: broken.png: not an image" in opened.inner_text("#said")
    assert "judged 6 of 7 by normal.png" in opened.inner_text("#said")

    with opened.expect_download() as started:
        opened.click("#scores")
    scores = [query["score"] for query in json.loads(started.value.path().read_text())["queries"]]
    middle = round((sorted(scores)[2] + sorted(scores)[3]) / 2, 4)
    opened.fill("#level input[type=number]", str(middle))
    opened.keyboard.press("Tab")
    wait_for(opened, "#count", rf"3 of 6 above {middle:.4f}")

    opened.check("#only input")
    wait_for(opened, "#table", r"^(?!.*\bno\b)(.*\byes\b){3}(?!.*\byes\b).*$")
    first = wait_for(opened, "#title", r"(\d)\.png: (\S+), anomalous \((\d) of 6\)")
    opened.locator("#title").click()
    opened.keyboard.press("ArrowRight")
    second = wait_for(opened, "#title", rf"(?!{first[1]})(\d)\.png: (\S+), anomalous")
    assert float(second[2]) == pytest.approx(scores[int(second[1])], abs=1e-4)

    with opened.expect_download() as started:
        opened.click("#raw")
    shown = np.load(started.value.path())
    assert shown.shape == SIZE
    assert shown.max() == pytest.approx(float(second[2]), abs=1e-4)
    with opened.expect_download() as started:
        opened.click("#overlay")
    assert cv2.imread(str(started.value.path())).shape == (80, 60, 3)

    opened.uncheck("#only input")
    opened.click("#reset")
    wait_for(opened, "#count", r"of 6 above 0\.5000")


def test_pairs_are_shown_by_kind_and_made_again(page, folder):
    opened, _ = page
    opened.get_by_role("tab", name="pairs").click()
    shard = open_shard(folder / "data/pairs", "shard_0000")
    wait_for(opened, "#told", rf"{shard.entry.pairs} of {shard.entry.pairs} pairs")
    kind = next(kind for kind, count in shard.entry.kinds.items() if 0 < count < shard.entry.pairs)
    opened.click("#kind input")
    opened.get_by_role("option", name=kind, exact=True).click()
    wait_for(opened, "#told", rf"{shard.entry.kinds[kind]} of {shard.entry.pairs} pairs")
    wait_for(opened, "#pair", rf"pair \d+ of shard_0000: {kind}, \d+\.\d\d% changed, image \d+")

    opened.locator("#gallery img").nth(1).click()
    wait_for(opened, "#pair", rf"{kind}.*\(2 of \d+\)")
    opened.click("#again")
    wait_for(opened, "#verdict", r"pair \d+ is the same to the byte when made again from its record")

    opened.click("#kind input")
    opened.get_by_role("option", name="any", exact=True).click()
    opened.click("#outcome input")
    opened.get_by_role("option", name="nothing: good at once").click()
    at_once = sum(not record["facts"]["in_vain"] for record in shard.attributes["records"])
    wait_for(opened, "#told", rf"{at_once} of {shard.entry.pairs} pairs")


def test_what_is_wrong_is_said_on_the_page(page, folder):
    opened, _ = page
    opened.reload()
    drop(opened, "#queries", folder / "line" / "1.png", "1")
    opened.click("#judge")
    opened.wait_for_selector(":text('wanted normal images to compare with')")


def test_nothing_is_fetched_from_elsewhere(page, address):
    _, asked = page
    elsewhere = {url for url in asked if not url.startswith((address, "data:", "blob:"))}
    assert len(asked) > 20
    assert not elsewhere


def test_other_files_of_this_machine_are_not_served(address, folder):
    for path in (folder / "normal.png", ROOT / "README.md"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}gradio_api/file={path}")  # noqa: S310  # loopback
        assert refused.value.code == 403
        refused.value.close()


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ((), 2, "nothing to show: pass --checkpoint, or --pairs with a folder of shards"),
        (("--checkpoint", "none.ckpt"), 2, "none.ckpt"),
        (("--checkpoint", "normal.png"), 2, "normal.png"),
        (("--pairs", "line"), 2, "line"),
    ],
)
def test_a_bad_request_is_one_line_before_there_is_a_page(folder, arguments, status, line):
    paths = [str(folder / word) if word[0] != "-" else word for word in arguments]
    asked = subprocess.run(
        [sys.executable, "-m", "model.app", *paths], cwd=folder / "line", capture_output=True, text=True, check=False
    )
    assert asked.returncode == status
    assert line in asked.stderr
    assert asked.stderr.startswith("error: ")
    assert asked.stderr.count("\n") == 1


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("model.app.find_spec", lambda _: None)
    with pytest.raises(BadRequest, match=r"not installed; run pip install 'metauas-pipeline\[app\]'"):
        main(["--checkpoint", "any.ckpt"])
    with pytest.raises(BadRequest, match=r"\[app,data,synth\]"):
        main(["--pairs", "data/pairs"])
