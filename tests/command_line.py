"""`ironbind ...` within this process: what a user would see on the two streams, and the exit code.

A process of its own costs three seconds of imports; tests start one only where the process itself is the point
(signals, encodings of streams, what is imported).
"""

import io
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from ironbind.__main__ import main


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def ironbind(*arguments: str | Path) -> Finished:
    """The console script with these arguments. Warnings are written to stderr by the filters of a fresh interpreter; an
    exception that the console script lets pass is raised.
    """
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        patch.object(sys, "argv", ["ironbind", *map(str, arguments)]),
        patch.dict("os.environ", {"COLUMNS": "200"}),
        redirect_stdout(out),
        redirect_stderr(err),
        warnings.catch_warnings(),
    ):
        warnings.resetwarnings()
        for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", ignored)
        warnings.showwarning = lambda message, category, file, line, *_: err.write(
            warnings.formatwarning(message, category, file, line)
        )
        try:
            main()
        except SystemExit as end:
            code = end.code
    return Finished(code if isinstance(code, int) else 0 if code is None else 1, out.getvalue(), err.getvalue())
