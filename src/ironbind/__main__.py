"""`ironbind`, `python -m ironbind`, `torchrun -m ironbind`: the command line, and one line for whatever ends it."""

import os
import signal
import sys
from collections.abc import Callable

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
    answered(_command)


def _command() -> None:
    from ironbind.cli import app

    if several_ranks():
        join_ranks()
    app(standalone_mode=True)


def answered(command: Callable[[], None]) -> None:
    """Runs a command; ends the process with one line for what a user can do something about."""
    try:
        try:
            command()
        finally:
            _ignore_launcher()
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


def join_ranks() -> None:
    """Joins the ranks of the launcher. The first speaks for all of them; when the launcher ends them because one is
    gone, one line says so.
    """
    from ironbind.numerics import ranks

    group = ranks.join()
    if group.rank:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives

    def end(*_: object) -> None:
        _ignore_launcher()
        raise ranks.RankLost(ranks.LOST)

    signal.signal(signal.SIGTERM, end)


def _ignore_launcher() -> None:
    """A rank that ends already must not be ended again: that would be a traceback instead of its line. A launcher kills
    what does not end in time.
    """
    if several_ranks():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end(line: str, code: int) -> None:
    if not several_ranks() or _says_something_new(line):
        print(line, file=sys.stderr, flush=True)
    sys.exit(code)


def _says_something_new(line: str) -> bool:
    """Whether no rank has said the same already; that a rank is gone is no news once any reason was told."""
    from ironbind.numerics import ranks

    first = ranks.first_to_tell("")  # of any reason, this one too
    return first if ranks.LOST in line else ranks.first_to_tell(line)


if __name__ == "__main__":
    main()
