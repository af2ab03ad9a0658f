"""The tab that looks at pairs: what was changed, how it is recorded, and whether the record makes it again."""

import html
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import gradio as gr
import numpy as np

from configs.errors import BadRequest, Failure
from pipeline.arrays import Image
from pipeline.browse import PairFacts, facts_of, find_shard, made_again
from pipeline.shards import RECORDS, Shard, open_shard, read_manifest
from pipeline.sheet import outlined

ANY = "any"
AT_ONCE = "nothing: good at once"
SHOWN_PX = 384  # shorter side of a picture, at least
BUTTONS: Any = ["download", "fullscreen"]  # gradio would add one that shares
LISTED = 48  # thumbnails at a time
IN_TURN: Any = {"concurrency_id": "pairs", "concurrency_limit": 1}


@dataclass(frozen=True)
class Listed:
    """The pairs of a shard that were asked for."""

    shard: str
    facts: tuple[PairFacts, ...]


def pairs_tab(page: gr.Blocks, root: Path) -> None:
    """Lay the tab out, of the pairs in the folder `root`.

    Raises:
        BadRequest: there is no manifest, or no pair.
    """
    manifest = read_manifest(root)
    names = [entry.name for entry in manifest.shards if entry.pairs]
    if not names:
        raise BadRequest(f"{root}: holds no pair to look at; run `dvc repro`")
    kinds = [ANY, *(kind for kind, count in manifest.kinds.items() if count)]
    groups = [ANY, *(group for group, count in manifest.groups.items() if count and group)]
    outcomes = [ANY, AT_ONCE, *(why for why in manifest.outcomes if "left out" not in why)]  # which no pair came of
    listed, place = gr.State(Listed("", ())), gr.State(0)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            shard = gr.Dropdown(names, value=names[0], label="shard", elem_id="shard")
            kind = gr.Dropdown(kinds, value=ANY, label="kind of change", elem_id="kind")
            group = gr.Dropdown(groups, value=ANY, label="category", visible=len(groups) > 1)
            before = gr.Dropdown(outcomes, value=ANY, label="drawn in vain before it", elem_id="outcome")
            least = gr.Slider(0, 100, 0, step=0.5, label="changed, at least, in percent of the image")
            most = gr.Slider(0, 100, 100, step=0.5, label="at most")
            told = gr.Markdown(elem_id="told")
        with gr.Column(scale=3):
            gallery = gr.Gallery(
                elem_id="gallery",
                label="changed pictures, outlined",
                columns=8,
                height=330,
                allow_preview=False,
                object_fit="contain",
            )
            with gr.Row():
                back = gr.Button("← previous", size="sm", elem_classes="go-back")
                on = gr.Button("next →", size="sm", elem_classes="go-on")
            title = gr.Markdown(elem_id="pair")
            with gr.Row():
                slider = gr.ImageSlider(
                    label="original | changed", type="numpy", format="png", interactive=False, max_height=400
                )
                mask = gr.Image(label="mask", format="png", interactive=False, height=400, buttons=BUTTONS)
                prompt = gr.Image(
                    label="prompt of its own",
                    format="png",
                    interactive=False,
                    height=400,
                    buttons=BUTTONS,
                    visible=False,
                )
            again = gr.Button("make again from its record", size="sm", elem_id="again")
            verdict = gr.Markdown(elem_id="verdict")
            record = gr.JSON(label="record", open=True, max_height=360)

    def picked(of: Listed, at: int, event: gr.SelectData) -> list[Any]:
        """The pair of a thumbnail. No `partial`: gradio would not see that it wants the event."""
        return _show(root, 0, of, at - at % LISTED + int(event.index))

    asked, chosen = [shard, kind, group, before, least, most], [listed, place]
    pictures = [place, gallery, title, slider, mask, prompt, record, verdict]
    pick, show = partial(_pick, root), partial(_show, root, 0)
    gr.on(
        [page.load, *(part.change for part in (shard, kind, group, before, least, most))],
        pick,
        asked,
        [listed, place, told],
        trigger_mode="always_last",
        **IN_TURN,
    ).success(show, chosen, pictures, trigger_mode="always_last", **IN_TURN)
    for button, by in ((back, -1), (on, 1)):
        step = partial(_show, root, by)
        button.click(step, chosen, pictures, trigger_mode="multiple", show_progress="hidden", **IN_TURN)
    gallery.select(picked, chosen, pictures, trigger_mode="always_last", show_progress="hidden", **IN_TURN)
    again.click(partial(_again, root), chosen, verdict, **IN_TURN)


def _pick(root: Path, name: str, kind: str, group: str, before: str, least: float, most: float) -> list[Any]:
    """The pairs that are asked for, the first place, and how many they are and what the shard drew in vain."""
    shard = _open(root, name)
    found = [
        fact
        for fact in facts_of(shard)
        if kind in (ANY, fact.kind)
        and group in (ANY, fact.group)
        and before in (ANY, *(fact.in_vain or (AT_ONCE,)))
        and least <= 100 * fact.area <= most
    ]
    told = [f"{len(found)} of {shard.entry.pairs} pairs"]
    told += ["drawn in vain, in this shard:"] if shard.entry.outcomes else []
    told += [f"- {why}: {times}" for why, times in shard.entry.outcomes.items()]
    return [Listed(name, tuple(found)), 0, "\n\n".join(told)]


def _show(root: Path, by: int, listed: Listed, place: int) -> list[Any]:
    """The pair `by` further on, or the first after the last: thumbnails about it, title, pictures, record."""
    if not listed.facts:
        return [0, [], "no such pair in this shard", None, None, gr.Image(visible=False), None, ""]
    place = (place + by) % len(listed.facts)
    shard, fact = _open(root, listed.shard), listed.facts[place]
    pair, own = np.asarray(shard.pair[fact.place]), shard.prompt(fact.place)
    zoom = -(-SHOWN_PX // min(pair.shape[1:3]))  # whole, so that pixels stay what they are
    larger = partial(cv2.resize, dsize=None, fx=zoom, fy=zoom, interpolation=cv2.INTER_NEAREST)
    donor = f", donor {fact.donor_id}" if fact.donor_id >= 0 else ""
    at = f"{place + 1} of {len(listed.facts)}"
    what = f"{fact.kind}{f', {fact.group}' if fact.group else ''}, {fact.area:.2%} changed"
    start = place - place % LISTED
    about = [(_outlined(shard, one.place), f"{one.place}: {one.kind}") for one in listed.facts[start : start + LISTED]]
    return [
        place,
        gr.Gallery(value=about, selected_index=place - start),
        f"### pair {fact.place} of {listed.shard}: {what}, image {fact.image_id}{donor} ({at})",
        (larger(pair[0]), larger(pair[1])),
        larger(np.asarray(shard.mask[fact.place]) * np.uint8(255)),
        gr.Image(value=None if own is None else larger(own), visible=own is not None),
        shard.attributes[RECORDS][fact.place],
        "",
    ]


def _again(root: Path, listed: Listed, place: int) -> str:
    if not listed.facts:
        return ""
    return made_again(root, _open(root, listed.shard), listed.facts[place].place)


def _open(root: Path, name: str) -> Shard:
    try:
        where, key = find_shard(root, read_manifest(root), name)
        return open_shard(where, key)
    except Failure as failure:
        raise gr.Error(html.escape(str(failure)), duration=None, print_exception=False) from None


def _outlined(shard: Shard, place: int) -> Image:
    """The changed picture of a pair with the outline of its mask."""
    return outlined(np.asarray(shard.pair[place])[1], np.asarray(shard.mask[place]) > 0)
