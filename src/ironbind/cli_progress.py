"""Progress of a run on the terminal."""

import sys
from typing import Any

from ironbind.launcher import rank


class Screen:
    """Live progress: one bar per job on a terminal, one plain line per finished step elsewhere."""

    def __enter__(self) -> "Screen":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._printed: set[tuple[str, str]] = set()
        if self._console.is_terminal and not rank():
            job, what = TextColumn("{task.fields[job]:>8}"), TextColumn("{task.description}")
            columns = (job, BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), what)
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, event: Any) -> None:
        if rank():  # the first of several ranks speaks for all
            return
        if self._bars:
            if event.job not in self._tasks:
                self._tasks[event.job] = self._bars.add_task(event.what, job=event.job, total=event.total)
            self._bars.update(self._tasks[event.job], description=event.what, completed=event.done, total=event.total)
        elif event.done >= event.total and (event.job, event.what) not in self._printed:
            self._printed.add((event.job, event.what))
            print(f"{event.job}: {event.what} ({event.total})", file=sys.stderr, flush=True)

    def count(self, job: str) -> Any:
        """A plain (done, total) callback that reports as `job`."""
        from types import SimpleNamespace

        return lambda done, total: self(SimpleNamespace(job=job, what="files", done=done, total=total))
