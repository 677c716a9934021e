"""Which kinds of worker processes a machine allows."""

import multiprocessing
import sys


def can_fork() -> bool:
    """Whether a process may be forked: Windows cannot, and the system libraries of macOS crash in a forked process."""
    return sys.platform != "darwin" and "fork" in multiprocessing.get_all_start_methods()
