import io

import pytest

from pipeline import progress
from pipeline.progress import track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_every_item_comes_once_in_order_on_a_terminal_and_elsewhere(monkeypatch, stream, count):
    monkeypatch.setattr("sys.stderr", stream())

    assert list(track(iter(range(count)), "work", count)) == list(range(count))


def test_elsewhere_the_last_line_says_how_many_are_done(capsys):
    list(track(range(3), "synth shards", 10, done=7))

    assert capsys.readouterr().err.startswith("synth shards: 10 of 10 done, ")


def test_elsewhere_long_work_is_heard_of_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)

    list(track(range(2), "index", 2))

    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "index: 1 of 2",
        "index: 2 of 2",
        "index: 2 of 2 done",
    ]
