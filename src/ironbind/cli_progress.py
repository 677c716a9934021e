"""Progress of a run on the terminal."""

import sys
import time
from enum import Enum
from typing import Any

from ironbind.launcher import rank

ALL = "all"  # the bar of the whole run
SURE_AFTER = 0.08  # of all parts: an estimate from fewer says nothing


class ProgressForm(str, Enum):
    """How progress is told."""

    terminal = "terminal"
    json = "json"


class Screen:
    """Live progress: one bar per job on a terminal, one plain line per finished step elsewhere; the numbers that are
    found on the way, and how long the whole run is likely to take.
    """

    def __init__(self, jobs: int = 1) -> None:
        self.expect(jobs)
        self._parts: dict[str, tuple[int, int]] = {}  # job -> parts done, parts in all
        self._told: tuple[int, int] | None = None

    def __enter__(self) -> "Screen":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._printed: set[tuple[str, str]] = set()
        self._started = time.monotonic()
        if self._console.is_terminal and not rank():
            job, what = TextColumn("{task.fields[job]:>8}"), TextColumn("{task.description}")
            columns = (job, BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), what)
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def expect(self, jobs: int) -> None:
        """How many jobs the run has; estimates count those that have not begun."""
        self._expected = jobs

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, event: Any) -> None:
        if rank():  # the first of several ranks speaks for all
            return
        if getattr(event, "whole", False):
            self._parts[event.job] = (event.done, event.total)
            self._tell_estimate()
        elif not event.total:
            self._line(f"{event.job}: {event.what}")
        elif self._bars:
            if event.job not in self._tasks:
                self._tasks[event.job] = self._bars.add_task(event.what, job=event.job, total=event.total)
            self._bars.update(self._tasks[event.job], description=event.what, completed=event.done, total=event.total)
        elif event.done >= event.total and (event.job, event.what) not in self._printed:
            self._printed.add((event.job, event.what))
            print(f"{event.job}: {event.what} ({event.total})", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        if self._bars:
            self._bars.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def _tell_estimate(self) -> None:
        """On a terminal always the present estimate, elsewhere a line when a job ends and the first time."""
        finished = sum(done == total for done, total in self._parts.values())
        minutes = self.estimate(time.monotonic() - self._started)
        if minutes is None:
            return
        text = f"about {max(1, round(minutes))} min in all, {finished} of {self._expected} done"
        if self._bars:
            if ALL not in self._tasks:
                self._tasks[ALL] = self._bars.add_task(text, job=ALL, total=self._total)
            done = sum(done for done, _ in self._parts.values())
            self._bars.update(self._tasks[ALL], description=text, completed=done, total=self._total)
        elif self._told is None or finished > self._told[0]:
            self._told = (finished, round(minutes))
            print(text, file=sys.stderr, flush=True)

    @property
    def _total(self) -> int:
        """Parts of all jobs; one that has not begun is taken to have as many as the others."""
        known = sum(total for _, total in self._parts.values())
        return round(known * max(1.0, self._expected / max(1, len(self._parts))))

    def estimate(self, seconds: float) -> float | None:
        """Minutes that the whole run is likely to take, after so many seconds; None while too little is done to
        tell.
        """
        done = sum(done for done, _ in self._parts.values())
        if done < max(2, SURE_AFTER * self._total):
            return None
        return seconds * self._total / done / 60

    def count(self, job: str) -> Any:
        """A plain (done, total) callback that reports as `job`."""
        from types import SimpleNamespace

        return lambda done, total: self(SimpleNamespace(job=job, what="files", done=done, total=total))
