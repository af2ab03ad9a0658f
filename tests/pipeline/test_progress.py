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


def test_a_shard_counts_as_its_pairs_in_total_rate_and_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("time.monotonic", iter(range(99)).__next__)

    list(track(["four", "pairs"], "synth pairs", 20, done=8, size=len))

    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(", ")[0] for line in lines] == [
        "synth pairs: 12 of 20",
        "synth pairs: 17 of 20",
        "synth pairs: 17 of 20 done",
    ]
    assert [line[-12:] for line in lines[:2]] == [
        "0:00:08 left",
        "0:00:03 left",
    ]  # 8 more after 4 in 4 s, 3 more after 9 in 8 s


def test_elsewhere_long_work_is_heard_of_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)

    list(track(range(2), "index", 2))

    assert [line.split(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "index: 1 of 2",
        "index: 2 of 2",
        "index: 2 of 2 done",
    ]
