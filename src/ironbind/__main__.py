"""`ironbind`, `python -m ironbind`, `torchrun -m ironbind`: the command line, and one line for whatever ends it."""

import os
import signal
import sys

from ironbind.console_text import STOPPED, print_every_sign
from ironbind.core.errors import InputError, disk_problem
from ironbind.launcher import several_ranks

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended. Typer turns an interrupt into it."""


def main() -> None:
    """The console script. A mistake of the user, a full disk and Ctrl-C are one line on stderr; exit codes 2, 2, 130.

    The command line takes a moment to load: an interrupt is answered from the first moment on.
    """
    print_every_sign(sys.stdout, sys.stderr)
    try:
        from ironbind.cli import app

        if several_ranks():
            _join_ranks()
        app(standalone_mode=True)
    except KeyboardInterrupt:
        _end(STOPPED, INTERRUPTED)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _end(STOPPED, INTERRUPTED)
        raise
    except InputError as error:
        _end(f"ironbind: {error}", 2)
    except OSError as error:
        line = disk_problem(error)
        if not line:
            raise
        _end(f"ironbind: {line}", 2)


def _join_ranks() -> None:
    """Joins the ranks of the launcher. The first speaks for all of them; when the launcher ends them because one is
    gone, one line says so.
    """
    from ironbind.numerics import ranks

    group = ranks.join()
    if group.rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives

    def end(*_: object) -> None:
        raise ranks.RankLost(ranks.LOST)

    signal.signal(signal.SIGTERM, end)


def _end(line: str, code: int) -> None:
    if several_ranks() and not _first_to_tell(line):
        sys.exit(code)
    print(line, file=sys.stderr)
    sys.exit(code)


def _first_to_tell(line: str) -> bool:
    """Whether no other rank has said the same already."""
    from ironbind.numerics import ranks

    return ranks.first_to_tell(line)


if __name__ == "__main__":
    main()
