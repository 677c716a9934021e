"""Functions in processes of their own, forked where the machine allows it: a fork has torch at hand already, a process
that starts from nothing loads it for three seconds of CPU time.

Where the start of a process is what is tested (the console script, the launcher, what is imported), a test starts one
from nothing by subprocess.
"""

import atexit
import multiprocessing
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import torch

from ironbind.__main__ import main
from ironbind.numerics.processes import can_fork
from ironbind.runs import run_jobs

# autograd on an accelerator forbids forks
PROCESSES = multiprocessing.get_context("fork" if can_fork() and not torch.accelerator.is_available() else "spawn")


@contextmanager
def running(
    function: Callable, *arguments: object, said: Path, variables: Mapping[str, str] | None = None
) -> Iterator[BaseProcess]:
    """`function(*arguments)` in a process of its own, which leads a process group; it is killed at the end of the block
    if it still runs. What it says stands in `said` with the endings .out and .err. `variables`: more of the
    environment. The function must be one of a module's top level.
    """
    process = PROCESSES.Process(target=_begin, args=(function, arguments, said, dict(variables or {})))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def exit_code(process: BaseProcess, seconds: float = 240) -> int:
    """Its exit code once it has ended; of a process that was ended by a signal the negative number of the signal."""
    process.join(timeout=seconds)
    assert process.exitcode is not None, f"it still runs after {seconds} s"
    return process.exitcode


def ironbind(*arguments: str | Path) -> None:
    """The console script with these arguments."""
    sys.argv = ["ironbind", *map(str, arguments)]
    main()


def ironbind_with_forked_workers(*arguments: str | Path) -> None:
    """The console script, whose worker processes need not load torch either."""
    run_jobs.multiprocessing = SimpleNamespace(get_context=lambda _: PROCESSES)  # type: ignore[attr-defined]
    ironbind(*arguments)


def ranks(count: int, function: Callable, *arguments: object, said: Path) -> list[int]:
    """The exit codes of the ranks of one launch, which start as torchrun starts them. All of them write to one pair of
    files.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started, codes = [], []
    try:
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            launcher = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            process = PROCESSES.Process(target=_begin, args=(function, arguments, said, {**launcher, **own}))
            process.start()
            started.append(process)
        codes = [exit_code(process) for process in started]
    finally:
        for process in started:
            process.kill()
    return codes


def text(said: Path, stream: str = "err") -> str:
    """What a process said on one of its streams, "out" or "err"."""
    return said.with_name(f"{said.name}.{stream}").read_text(encoding="utf-8")


def _begin(function: Callable, arguments: Sequence[object], said: Path, variables: dict[str, str]) -> None:
    """As in a fresh interpreter: streams, signals, warnings, and what is done at its end, none of them the test's."""
    if hasattr(os, "setsid"):  # not on Windows
        os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()
    os.environ.update(variables)
    for number, stream in ((1, "out"), (2, "err")):
        handle = os.open(said.with_name(f"{said.name}.{stream}"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115 - as long as it lives
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    warnings.resetwarnings()
    for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", ignored)
    warnings.showwarning = lambda message, category, file, line, *_: sys.stderr.write(
        warnings.formatwarning(message, category, file, line)
    )
    torch.set_num_threads(1)
    try:
        function(*arguments)
    finally:
        sys.stdout.flush()
        atexit._run_exitfuncs()
