"""Tables kept open: per process (a forked worker must not share a file position) and per state of the file (a rewritten
one is opened anew).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

OPEN = 8  # tables that one process keeps open at a time

_open: dict[tuple[int, str, tuple[int, int], str], Any] = {}
_Opened = TypeVar("_Opened")


def state_of(path: Path) -> tuple[int, int]:
    """When a file was last written, in nanoseconds, and its size in bytes."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def kept_open(path: Path, opener: Callable[[Path], _Opened], part: str = "") -> _Opened:
    """What `opener(path)` gave when it was first asked for the file in its present state; `part` tells several tables
    of one file apart. Raises what `opener` raises.
    """
    key = (os.getpid(), str(path), state_of(path), part)
    if key not in _open:
        # a forked worker leaves its parent's tables alone: to close them takes threads that it lacks
        own = [held for held in _open if held[0] == key[0]]
        for held in own[: max(0, len(own) - OPEN + 1)]:
            del _open[held]
        _open[key] = opener(path)
    table: _Opened = _open[key]
    return table
