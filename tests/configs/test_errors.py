import pytest

from configs.errors import BadRequest, Failure, run


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (Failure("x.jpg: cut short"), 1, "error: x.jpg: cut short\n"),
        (BadRequest("no shard_0009"), 2, "error: no shard_0009\n"),
        (KeyboardInterrupt(), 130, "interrupted: what is finished is kept; run the same command again to go on\n"),
    ],
)
def test_a_bad_end_is_one_line_and_a_status(capsys, error, status, line):
    def main():
        raise error

    with pytest.raises(SystemExit) as left:
        run(main)

    assert left.value.code == status
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(("returned", "status"), [(None, 0), (0, 0), (1, 1)])
def test_a_good_end_is_its_own_status(returned, status):
    with pytest.raises(SystemExit) as left:
        run(lambda: returned)

    assert left.value.code == status
