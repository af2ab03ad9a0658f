import csv
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from model.benchmark.cost import Cost
from model.benchmark.evaluation import Outcome
from model.pictures.sheet import Strip
from model.report.page import page
from model.report.paper_scores import printed, printed_of
from model.report.report import in_short, markdown, metrics_tree, notes_of, score_tables, write_csv, write_report
from model.scores.curves import GRID, Curves
from model.scores.metrics import NAMES, Scores, Tally
from model.scores.results import ALL, MEAN, Row, over_categories, over_prompts, pixel_level


def row(category, method, value, set_name="benchmark", deviation=None):
    spread = None if deviation is None else Scores(*[deviation] * len(NAMES))
    return Row(set_name, category, method, 10, Scores(*[value] * len(NAMES)), spread)


ROWS = [
    row("nut", "metauas", 0.1234567),
    row("nut", "patchcore", 0.5),
    row(MEAN, "metauas", math.nan),
    row(MEAN, "patchcore", 0.25),
    row(ALL, "metauas", 0.75, "val_warped"),
    row(ALL, "patchcore", 0.5, "val_warped"),
    row("paste", "metauas", 0.625, "val_warped"),
    row("paste", "patchcore", 0.5, "val_warped"),
]


@pytest.fixture
def outcome():
    rng = np.random.default_rng(0)
    masks = np.zeros((4, 16, 16), bool)
    masks[:2, 4:9, 4:9] = True
    tally = Tally()
    tally.add(np.clip(0.5 * masks + 0.5 * rng.random(masks.shape), 0, 1).astype(np.float32), masks)
    image = rng.integers(0, 256, (16, 16, 3), np.uint8)
    strip = Strip("cut\n000\nscore 1.00", image, image, masks[0], rng.random((16, 16)).astype(np.float32))
    made = Outcome("metauas", "metauas", ["Protocol exact <at> 256 px."], rows=[*ROWS])
    made.costs.append(Cost("metauas", 22_130_305, 4_581_689, (256, 256), 390.0, 8, "2 CPU threads"))
    made.curves.add({"metauas": tally, "patchcore": tally}, tally)
    made.sheets = {"nut": [strip, strip], "best cases": [strip]}
    return made


def test_metrics_are_rounded_numbers_and_null_where_undefined():
    tree = json.loads(json.dumps(metrics_tree(ROWS, "metauas"), allow_nan=False))
    pixels = ("P-AUROC", "P-AP", "P-F1max", "AUPRO")
    assert tree == {
        "benchmark": {"nut": dict.fromkeys(NAMES, 0.123457), "mean": dict.fromkeys(NAMES)},
        "val_warped": dict.fromkeys(pixels, 0.75) | {"P-AP paste": 0.625},
        "baseline": {
            "patchcore": {"benchmark": dict.fromkeys(NAMES, 0.25), "val_warped": dict.fromkeys(pixels, 0.5)},
        },
    }


def test_metrics_tell_deviations_and_other_variants_apart():
    rows = [row("nut", "metauas", 0.5, deviation=0.01), row(MEAN, "metauas*", 0.75)]
    tree = metrics_tree(rows, "metauas")
    assert tree["deviation"] == {"benchmark": {"nut": dict.fromkeys(NAMES, 0.01)}}
    assert tree["variant"] == {"metauas*": {"benchmark": dict.fromkeys(NAMES, 0.75)}}
    assert "baseline" not in tree


def test_the_csv_has_a_line_for_each_row(tmp_path):
    write_csv(tmp_path / "scores.csv", [*ROWS, row("nut", "x", 0.5, deviation=0.25)])
    with (tmp_path / "scores.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(ROWS) + 1
    assert list(lines[0])[:11] == ["set", "category", "method", "images", *NAMES]
    assert (lines[0]["AUPRO"], lines[2]["AUPRO"], lines[0]["AUPRO deviation"]) == ("0.123457", "", "")
    assert lines[-1]["AUPRO deviation"] == "0.25"


def test_the_markdown_table_marks_the_best_method():
    text = markdown(score_tables(ROWS), [])
    assert f"| nut | metauas | 10 |{' 12.3 |' * 7}" in text
    assert f"| nut | patchcore | 10 |{' **50.0** |' * 7}" in text
    assert f"| mean | metauas | 10 |{' - |' * 7}" in text
    assert f"| paste | metauas | 10 |{' **62.5** |' * 7}" in text


def test_deviations_stand_beside_means():
    text = markdown(score_tables([row("nut", "metauas", 0.907, deviation=0.0071)]), [])
    assert f"| nut | metauas | 10 |{' **90.7±0.7** |' * 7}" in text


def categories_of(benchmark):
    known = next(known for known in printed() if (known.system, known.benchmark) == ("metauas", benchmark))
    return [name.replace(" ", "_") for name in known.scores if name != MEAN]


def test_the_papers_lines_stand_beside_a_category_of_a_whole_benchmark():
    known = printed_of("metauas", categories_of("MVTec AD"))
    text = markdown(score_tables([row("metal_nut", "metauas", 0.5), row(MEAN, "metauas", 0.5)], known), [])
    wanted = "94.4±3.9 | 98.6±1.1 | 95.0±1.2 | 95.0±0.7 | 76.9±4.0 | 70.9±2.6 | 87.1±1.2 |"
    assert f"| metal_nut | published: MetaUAS, 256 px |  | {wanted}" in text
    assert "mean | paper" not in text  # of 15 categories


def test_the_papers_means_stand_beside_a_whole_benchmark():
    categories = categories_of("GoodsAD")
    rows = [row(name, "metauas", 0.5) for name in (*categories, MEAN)]
    text = markdown(score_tables(rows, printed_of("metauas", categories)), [])
    assert "| mean | published: MetaUAS*, 512 px |  | 90.1 | 91.7 | 85.7 | 97.4 | 53.7 | 55.5 | 70.8 |" in text
    assert "| mean | published: PatchCore, 512 px |" in text


def test_the_papers_lines_are_dimmed_in_the_page(outcome):
    categories = categories_of("GoodsAD")
    tables = score_tables(
        [row(name, "metauas", 0.5) for name in (*categories, MEAN)], printed_of("metauas", categories)
    )
    shown = page("GoodsAD", [], tables, outcome.curves, {})
    assert shown.count('published">') == sum("published: " in line[1] for line in tables[0][2]) > 0
    assert "tr.published td" in shown


@pytest.mark.parametrize("benchmark", ["MVTec AD", "VisA", "GoodsAD", "Real-IAD"])
def test_the_printed_means_are_those_of_their_categories(benchmark):
    (known,) = (known for known in printed() if (known.system, known.benchmark) == ("metauas", benchmark))
    rows = dict(known.scores)
    means = rows.pop(MEAN)
    assert len(rows) == known.categories
    for method in next(iter(rows.values())):
        for place in range(len(NAMES)):
            mean = np.mean([float(own[method][place].split("±")[0]) for own in rows.values()])
            assert mean == pytest.approx(float(means[method][place].split("±")[0]), abs=0.11)


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (categories_of("MVTec AD"), "MVTec AD"),
        (categories_of("Real-IAD"), "Real-IAD"),
        (
            [*categories_of("Real-IAD-Variety"), *map(str, range(152))],
            "Real-IAD-Variety",
        ),  # of 160, eight are in the table
        ([f"kind_{number}" for number in range(160)], None),
        (["bottle"], None),  # anybody's folder
        (["zipper", "toothbrush"], None),  # of MVTec AD or of Real-IAD
        ([*categories_of("VisA"), "another"], None),
        ([], None),
    ],
)
def test_a_benchmark_is_known_by_all_of_its_categories(names, known):
    found = printed_of("metauas", names)
    assert (found and found.benchmark) == known


def test_what_is_printed_of_onenip_stands_beside_onenip_alone():
    categories = categories_of("MVTec AD")
    rows = [row(name, "onenip", 0.5) for name in (*categories, MEAN)]
    text = markdown(score_tables(rows, printed_of("onenip", categories)), [])
    assert "| screw | published: OneNIP v1, 224 px |  | 91.4 | 96.6 |  | 98.9 | 39.8 |  |  |" in text
    assert "| mean | published: UniAD, 224 px |  | 96.5 | 98.9 |  | 96.8 | 44.7 |  |  |" in text
    assert "| mean | published: OneNIP v2, 320 px |  | 98.4 | 99.5 |  | 98.0 | 66.7 |  |  |" in text
    assert "MetaUAS" not in text


def test_what_is_printed_of_metacan_are_means_over_whole_benchmarks():
    categories = categories_of("VisA")
    rows = [row(name, "metacan", 0.5) for name in (*categories, MEAN)]
    text = markdown(score_tables(rows, printed_of("metacan", categories)), [])
    assert "| mean | published: MetaCAN, 2 shots, 240 px |  | 89.6±2.0 | 90.5±2.0 |  |  |  |  |  |" in text
    assert "| mean | published: InCTRL, 8 shots, 240 px |  | 88.7±2.1 | 90.4±2.5 |" in text
    assert printed_of("metacan", [f"kind_{number}" for number in range(12)]) is None
    alone = [row("elpv", "metacan", 0.5), row(MEAN, "metacan", 0.5)]
    text = markdown(score_tables(alone, printed_of("metacan", ["elpv"])), [])
    assert "| elpv | published: MetaCAN, 4 shots, 240 px |  | 87.0±0.7 | 93.4±0.4 |" in text


def test_a_score_that_nobody_prints_stands_empty_beside_ours(monkeypatch):
    monkeypatch.setattr("model.report.paper_scores.NAMES", (*NAMES, "image cost"))
    assert all(
        cells[len(NAMES) :] == [""]
        for known in printed.__wrapped__()
        for methods in known.scores.values()
        for cells in methods.values()
    )


def test_where_the_papers_lines_come_from_is_said():
    outcome = Outcome("metauas", "metauas", [], frozenset(categories_of("MVTec AD")), [row("screw", "metauas", 0.5)])
    assert notes_of(outcome)[-1] == (
        "Lines 'published: ..' are of MVTec AD as printed (Gao NeurIPS 2024 Tables 1 and A1; protocol paper; ± over 5"
        " prompts)."
    )
    assert notes_of(Outcome("metauas", "metauas", [], frozenset({"screw"}), [row("screw", "metauas", 0.5)]))[1:] == []


def test_the_mean_is_over_categories_and_undefined_if_one_is():
    first = over_categories([row("nut", "metauas", 0.5), row("screw", "metauas", 1.0)])
    assert (first.category, first.method, first.images, first.scores.p_ap) == (MEAN, "metauas", 20, 0.75)
    assert math.isnan(over_categories([row("nut", "x", math.nan), row("screw", "x", 1.0)]).scores.aupro)


def test_over_prompts_there_are_mean_and_sample_deviation():
    one = over_prompts([row("nut", "metauas", value) for value in (0.5, 0.6, 1.0)])
    assert one.scores.p_ap == pytest.approx(0.7)
    assert one.deviation.p_ap == pytest.approx(np.std([0.5, 0.6, 1.0], ddof=1))
    assert over_prompts([ROWS[0]]) == ROWS[0]


def test_the_rows_of_pairs_keep_their_pixel_scores_alone():
    for before, kept in zip(ROWS, pixel_level(ROWS), strict=True):
        after = kept.scores.by_name()
        assert all(math.isnan(after[name]) for name in NAMES if name.startswith("I-"))
        np.testing.assert_equal([after[name] for name in NAMES[3:]], list(before.scores.by_name().values())[3:])


def test_the_short_line_tells_of_the_network_on_each_whole_set():
    line = in_short(ROWS, "metauas")
    assert line.startswith("benchmark P-AP")
    assert "patchcore" not in line
    assert "\n" not in line


def test_curves_are_averaged_over_categories(outcome):
    tables = outcome.curves.tables()
    headings, lines = tables["roc"]
    assert headings == ["fpr", "metauas", "patchcore"]
    assert len(lines) == GRID.size
    assert lines[-1] == [1, 1, 1]
    assert all(after[1] >= before[1] for before, after in pairwise(lines))
    assert [sum(column) for column in list(zip(*tables["histogram"][1], strict=True))[1:]] == [2, 2]


def test_without_anomalies_there_is_no_curve():
    tally = Tally()
    tally.add(np.zeros((2, 4, 4), np.float32), np.zeros((2, 4, 4), bool))
    curves = Curves()
    curves.add({"metauas": tally}, tally)
    assert curves.tables()["roc"][0] == ["fpr"]


def test_everything_is_written(outcome, tmp_path):
    write_report(outcome, tmp_path / "new/metrics.json", tmp_path / "all", "best.ckpt on parts")
    made = {path.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").rglob("*") if path.is_file()}
    assert made == {
        "cost.md",
        "scores.csv",
        "table.md",
        "report.html",
        "pictures/nut.png",
        "pictures/best_cases.png",
        "curves/roc.csv",
        "curves/pr.csv",
        "curves/histogram.csv",
    }
    assert json.loads((tmp_path / "new/metrics.json").read_text())["benchmark"]["nut"]["P-AP"] == 0.123457
    assert "| metauas | 22.1 | 4.6 | 256 x 256 | 390.0 | 8 | 2 CPU threads |" in (tmp_path / "all/cost.md").read_text()


def test_a_slower_machine_writes_the_same_files_but_for_the_times(outcome, tmp_path):
    write_report(outcome, tmp_path / "a.json", tmp_path / "a", "best.ckpt on parts")
    outcome.costs = [replace(cost, ms=2 * cost.ms, device="a slower one") for cost in outcome.costs]
    write_report(outcome, tmp_path / "b.json", tmp_path / "b", "best.ckpt on parts")
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    differing = [
        name.name for name in files if (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()
    ]
    assert differing == ["cost.md"]


def test_names_that_mean_something_to_matplotlib_or_markdown_are_written_as_they_are(outcome, tmp_path):
    name = "a$_{|$"
    outcome.sheets = {name: [replace(outcome.sheets["nut"][0], label=name)]}
    outcome.rows = [row(name, "metauas", 0.5)]
    write_report(outcome, tmp_path / "metrics.json", tmp_path, "best.ckpt on parts")
    table = (tmp_path / "table.md").read_text()
    assert f"| a$_{{\\|$ | metauas | 10 |{' **50.0** |' * 7}" in table
    assert name in (tmp_path / "report.html").read_text()


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.sources, self.rows = [], [], 0

    def handle_starttag(self, tag, attrs):
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        self.rows += tag == "tr"
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_asks_for_nothing_else(outcome, tmp_path):
    write_report(outcome, tmp_path / "metrics.json", tmp_path, "best.ckpt on <parts>")
    text = (tmp_path / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.sources) == 3  # curves and two sheets
    assert all(source.startswith("data:image/") for source in page.sources)
    assert page.rows == 3 + len(ROWS) + 1
    assert "<script" not in text
    assert "best.ckpt on &lt;parts&gt;" in text


def test_the_page_opens_in_a_browser(outcome, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on PATH: the page is not opened in a browser")
    write_report(outcome, tmp_path / "metrics.json", tmp_path, "best.ckpt on parts")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    address = (tmp_path / "report.html").as_uri()
    shown = subprocess.run([browser, *options, address], capture_output=True, text=True, timeout=120, check=True).stdout
    assert len(re.findall(r"<img", shown)) == 3
    assert "paste" in shown
