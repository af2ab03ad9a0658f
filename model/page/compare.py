"""The tab that judges images by normal ones."""

import html
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from configs.errors import Failure
from model.images import SUFFIXES
from model.inference import FALSE_ALARMS
from model.page.judged import STEP, Levels, Network, Round, histogram, judge, overlay_file, scores_file, show

OPACITY = 0.5
# What reads and sets the place takes turns, so that none overtakes another.
IN_TURN: Any = {"concurrency_id": "judged", "concurrency_limit": 1}
KINDS = sorted(SUFFIXES)
TABLE = ["#", "image", "score", "anomalous"]
REGIONS = ["left", "top", "width", "height", "share of the image", "highest"]


def compare_tab(network: Network, inside: tuple[str, ...] | None, scratch: Path) -> None:
    """Lay the tab out.

    Args:
        network: that judges.
        inside: names of the prompts that an exported file has; None: they are given.
        scratch: a folder for what is judged.
    """
    kept = gr.State(None, delete_callback=_forget)
    place = gr.State(0)
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            prompts = gr.File(
                elem_id="prompts",
                label="normal images",
                file_count="multiple",
                file_types=KINDS,
                height=130,
                visible=inside is None,
            )
            if inside is not None:
                gr.Markdown(f"`{network.checkpoint.name}` has its normal images inside: {', '.join(inside)}")
            queries = gr.File(
                elem_id="queries", label="images to judge", file_count="multiple", file_types=KINDS, height=130
            )
            folder = gr.File(elem_id="folder", label="or a folder of them", file_count="directory", height=100)
            with gr.Accordion("decide by further normal images", open=False):
                normals = gr.File(
                    elem_id="normals",
                    label="further normal images",
                    file_count="multiple",
                    file_types=KINDS,
                    height=110,
                )
                rate = gr.Slider(0.01, 0.5, FALSE_ALARMS, step=0.01, label="share of normal images that may be above")
            start = gr.Button("judge", variant="primary", elem_id="judge")
            said = gr.Markdown(elem_id="said")
        with gr.Column(scale=3):
            title = gr.Markdown("Drop normal images and images to judge, then press *judge*.", elem_id="title")
            slider = gr.ImageSlider(
                label="image | map over it", type="numpy", format="png", interactive=False, max_height=520
            )
            with gr.Row():
                back = gr.Button("← previous", size="sm", elem_classes="go-back")
                on = gr.Button("next →", size="sm", elem_classes="go-on")
                opacity = gr.Slider(0, 1, OPACITY, step=0.05, label="opacity of the map")
            regions = gr.Dataframe(
                headers=REGIONS, label="regions above, in pixels of the picture shown", interactive=False
            )
            with gr.Row():
                raw = gr.DownloadButton("raw map (.npy)", size="sm", elem_id="raw")
                overlay = gr.DownloadButton("overlay (.png)", size="sm", elem_id="overlay")
                scores = gr.DownloadButton("scores (.json)", size="sm", elem_id="scores")
        with gr.Column(scale=2, min_width=300):
            count = gr.Markdown(elem_id="count")
            plot = gr.Plot(show_label=False)
            level = gr.Slider(0, 1, 0.5, step=STEP, label="an image is anomalous above", elem_id="level")
            pixel = gr.Slider(0, 1, 0.5, step=STEP, label="regions are above", elem_id="pixel", visible=False)
            with gr.Row():
                reset = gr.Button("reset thresholds", size="sm", elem_id="reset")
                only = gr.Checkbox(label="only those above", elem_id="only")
            table = gr.Dataframe(headers=TABLE, label="images", interactive=False, max_height=360, elem_id="table")

    def judging(
        before: Round | None,
        normal: Any,
        files: Any,
        of_folder: Any,
        further: Any,
        share: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # gradio's way
    ) -> list[Any]:
        """No `partial`: gradio would not see that it wants its progress bar."""
        return _judge(network, scratch, before, normal, files, of_folder, further, share, progress)

    state = [kept, place, level, pixel, opacity, only]
    shown = [place, title, slider, regions, raw, overlay, scores, count, plot, table]
    begun = start.click(
        judging,
        [kept, prompts, queries, folder, normals, rate],
        [kept, place, level, pixel, said],
        **IN_TURN,
    )
    begun.success(_show, state, shown, **IN_TURN)
    for moved in (level, pixel, opacity, only):
        moved.input(_show, state, shown, trigger_mode="always_last", show_progress="hidden", **IN_TURN)
    reset.click(_reset, kept, [level, pixel], **IN_TURN).success(_show, state, shown, **IN_TURN)
    for button, by in ((back, -1), (on, 1)):
        button.click(partial(_step, by), state, shown, trigger_mode="multiple", show_progress="hidden", **IN_TURN)
    table.select(_picked, state, shown, trigger_mode="always_last", show_progress="hidden", **IN_TURN)


def _judge(
    network: Network,
    scratch: Path,
    before: Round | None,
    prompts: Any,
    queries: Any,
    folder: Any,
    normals: Any,
    rate: float,
    progress: gr.Progress,
) -> list[Any]:
    """A new round: what is kept, the first place, both thresholds, and what is said of it."""
    into = Path(tempfile.mkdtemp(dir=scratch))
    dropped = [*(queries or ()), *(folder or ())]
    given = [*_paths(queries), *sorted(_paths(folder), key=lambda path: path.name)]  # listed as a browser likes
    try:
        found = judge(network, _paths(prompts), given, _paths(normals), rate, into, progress)
    except Failure as failure:
        shutil.rmtree(into)
        line = html.escape(_without_folders(str(failure), scratch))
        raise gr.Error(line, duration=None, title="not judged", print_exception=False) from None
    except BaseException:
        shutil.rmtree(into)
        raise
    _forget(before)
    said = [f"judged {len(found.judged)} of {len(given)} by {', '.join(found.prompts)}"]
    if found.threshold:
        set_by = found.threshold
        said.append(
            f"threshold by {set_by.normals} further normal images: on average at most {set_by.vouched:.1%} of such"
            f" images are above it, {set_by.at_worst:.1%} in nine sets of ten"
        )
    said += [f"**not judged:** {why}" for why in found.failed]
    if len(dropped) > len(given):
        said.append(f"left out: {len(dropped) - len(given)} files that do not end in {', '.join(KINDS)}")
    level = gr.Slider(value=found.begin.score, maximum=found.highest)
    pixel = gr.Slider(value=found.begin.pixel, maximum=found.highest, visible=found.how != "max")
    return [found, 0, level, pixel, "\n\n".join(said)]


def _show(kept: Round | None, place: int, level: float, pixel: float, opacity: float, only: bool) -> list[Any]:  # noqa: FBT001  # gradio passes by place
    """Everything on the right, for the query at `place`, or the next one that is above where `only` those are."""
    if kept is None:
        line = "nothing is judged yet: drop normal images and images to judge, then press judge"
        raise gr.Error(line, print_exception=False)
    levels = Levels(level, level if kept.how == "max" else pixel)  # one threshold where the score is a pixel
    above = kept.above(level)
    listed = above if only else range(len(kept.judged))
    if only and above and place not in above:
        place = min(above, key=lambda other: abs(other - place))
    place = min(place, len(kept.judged) - 1)
    one = kept.judged[place]
    found = show(one, levels, opacity)
    height, width = found.picture.shape[:2]
    regions = [
        [box.left, box.top, box.width, box.height, f"{box.area_px / (height * width):.2%}", round(box.highest, 3)]
        for box in found.regions
    ]
    verdict = "anomalous" if found.anomalous else "normal"
    return [
        place,
        f"### {one.name}: {one.score:.4f}, {verdict} ({place + 1} of {len(kept.judged)})",
        (found.picture, found.overlay),
        regions,
        str(one.map),
        str(overlay_file(kept, place, found)),
        str(scores_file(kept, levels)),
        f"**{len(above)} of {len(kept.judged)}** above {level:.4f}",
        histogram([other.score for other in kept.judged], level, kept.highest),
        [
            [other + 1, kept.judged[other].name, round(kept.judged[other].score, 4), "yes" if other in above else "no"]
            for other in listed
        ],
    ]


def _step(by: int, kept: Round | None, place: int, level: float, pixel: float, opacity: float, only: bool) -> list[Any]:  # noqa: FBT001
    """The next query, or the first after the last; of those above only, where these are listed."""
    listed = [] if kept is None else kept.above(level) if only else list(range(len(kept.judged)))
    if listed:
        at = listed.index(place) if place in listed else 0
        place = listed[(at + by) % len(listed)]
    return _show(kept, place, level, pixel, opacity, only)


def _reset(kept: Round | None) -> tuple[float, float]:
    return (kept.begin.score, kept.begin.pixel) if kept else (0.5, 0.5)


def _picked(
    kept: Round | None,
    place: int,
    level: float,
    pixel: float,
    opacity: float,
    only: bool,  # noqa: FBT001
    event: gr.SelectData,
) -> list[Any]:
    """The query of a row of the table, whatever it is sorted by."""
    del place
    return _show(kept, int(event.row_value[0]) - 1, level, pixel, opacity, only)


def _paths(given: Any) -> list[Path]:
    """Those of the uploaded files that end as images do; a folder's other files are left out."""
    return [Path(name) for name in given or () if Path(name).suffix.lower() in SUFFIXES]


def _without_folders(line: str, scratch: Path) -> str:
    """A line without the folder of uploads, which nobody knows."""
    return re.sub(rf"{re.escape(str(scratch))}/\S*/", "", line)


def _forget(kept: Round | None) -> None:
    if kept is not None:
        shutil.rmtree(kept.folder, ignore_errors=True)
