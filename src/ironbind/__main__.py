"""`ironbind`, `python -m ironbind`, `torchrun -m ironbind`: the command line, and one line for whatever ends it."""

import sys

from ironbind.console_text import STOPPED, print_every_sign
from ironbind.core.errors import InputError, disk_problem

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended. Typer turns an interrupt into it."""


def main() -> None:
    """The console script. A mistake of the user, a full disk and Ctrl-C are one line on stderr; exit codes 2, 2, 130.

    The command line takes a moment to load: an interrupt is answered from the first moment on.
    """
    print_every_sign(sys.stdout, sys.stderr)
    try:
        from ironbind.cli import app

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


def _end(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
