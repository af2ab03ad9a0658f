"""The two ways a command ends badly, and the one place that turns them into a line and an exit status."""

import sys
from collections.abc import Callable


class Failure(Exception):
    """The work failed (exit status 1). The message is one line: where, what was found, what was wanted, what to do."""

    status = 1


class BadRequest(Failure):
    """The request was wrong (exit status 2): an unknown name, a bad parameter, a file that is not there."""

    status = 2


def run(main: Callable[[], int | None]) -> None:
    """Call `main` and leave the process: 0 done, 1 the work failed, 2 the request was wrong, 130 on Ctrl-C."""
    try:
        sys.exit(main() or 0)
    except Failure as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(failure.status)
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
