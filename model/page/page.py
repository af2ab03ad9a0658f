"""The page as a whole: its tabs, its keys, and how it is served."""

import os
from pathlib import Path

import gradio as gr

from model.page.compare import compare_tab
from model.page.judged import Network

LOOPBACK = "127.0.0.1"
DAY = 24 * 60 * 60  # seconds after which uploads and pictures are deleted while the page runs, looked at as often
# Arrow keys press the buttons of the tab that is seen, unless something is typed, or a slider or a table moved by them.
KEYS = """
<script>
document.addEventListener("keydown", (event) => {
  const pressed = {ArrowLeft: ".go-back", ArrowRight: ".go-on"}[event.key];
  const typed = "input:not([type=checkbox]), textarea, select, table, [contenteditable=true]";
  if (!pressed || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest(typed)) return;
  const button = [...document.querySelectorAll(pressed)].find((one) => one.offsetParent !== null);
  if (button) { button.click(); event.preventDefault(); }
});
</script>
"""


def build_page(network: Network | None, inside: tuple[str, ...] | None, pairs: Path | None, scratch: Path) -> gr.Blocks:
    """The page, not yet served.

    Args:
        network: that judges; None: no such tab.
        inside: names of the prompts that an exported file has; None: they are given.
        pairs: a folder of shards to look at; None: no such tab.
        scratch: a folder for what is judged.

    Raises:
        BadRequest: there is no manifest in `pairs`, or no pair.
    """
    with gr.Blocks(title="MetaUAS", analytics_enabled=False, fill_width=True, delete_cache=(DAY, DAY)) as page:
        assert isinstance(page, gr.Blocks)
        if network is not None:
            with gr.Tab("judge by normal images"):
                compare_tab(network, inside, scratch)
        if pairs is not None:
            # What reads shards is an extra; a page without pairs does without it.
            from model.page.pairs import pairs_tab

            with gr.Tab("pairs"):
                pairs_tab(page, pairs)
    return page


def launch(page: gr.Blocks, port: int | None, *, browser: bool) -> None:
    """Serve the page on the loopback interface until Ctrl-C.

    Args:
        page: of `build_page`.
        port: of the server; None: the first free one from 7860.
        browser: whether to open one.

    Raises:
        OSError: the port is taken.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    for name in ("NO_PROXY", "no_proxy"):  # gradio asks its own page whether it is there
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), LOOPBACK, "localhost")))
    _, address, _ = page.launch(
        server_name=LOOPBACK,
        server_port=port,
        inbrowser=browser,
        share=False,
        head=KEYS,
        footer_links=[],
        run_history=False,
        show_error=True,
        ssr_mode=False,
        quiet=True,
        prevent_thread_lock=True,
    )
    print(f"the page is at {address} and on this machine alone; Ctrl-C ends it", flush=True)
    page.block_thread()
