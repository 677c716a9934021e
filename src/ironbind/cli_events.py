"""Progress for other programs: JSON lines, and TensorBoard's event files."""

import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ironbind.core.errors import InputError, writing
from ironbind.launcher import rank
from ironbind.numerics import scalars


class JsonLines:
    """One JSON object a line on stderr: `{"event": "progress", "job": ..., "step": ..., "done": ..., "total": ...,
    "seconds": ...}` for every piece of work ("whole job": parts of the job), `{"event": "found", "job": ..., "text":
    ...}` for numbers that are known already, `{"event": "scalar", "name": ..., "value": ..., "step": ...}` for the
    numbers of a training.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()

    def expect(self, jobs: int) -> None:
        """How many jobs the run has."""
        self._print("jobs", total=jobs)

    def __enter__(self) -> "JsonLines":
        self._stack = ExitStack()
        self._stack.enter_context(scalars.recorded_by(self._scalar))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, event: Any) -> None:
        if event.total:
            self._print("progress", job=event.job, step=event.what, done=event.done, total=event.total)
        else:  # a number that was found on the way
            self._print("found", job=event.job, text=event.what)

    def _scalar(self, name: str, value: float, step: int) -> None:
        self._print("scalar", name=name, value=value, step=step)

    def _print(self, event: str, **fields: Any) -> None:
        if not rank():  # the first of several ranks speaks for all
            line = {"event": event, **fields, "seconds": round(time.monotonic() - self._started, 3)}
            print(json.dumps(line), file=sys.stderr, flush=True)


class EventFiles:
    """TensorBoard's event files in a folder: the numbers of a training as they are measured, and of every step of a run
    how many percent are done. `listener` is called with every event too.
    """

    def __init__(self, folder: Path, listener: Any) -> None:
        """Raises InputError where the package tensorboard is missing."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError(
                f"--tensorboard {folder}: needs the package tensorboard ({error}); expected it installed: pip install "
                "'ironbind[tensorboard]'"
            ) from None
        self._folder, self._listener, self._make = folder, listener, SummaryWriter
        self._count: dict[str, int] = {}

    def expect(self, jobs: int) -> None:
        """How many jobs the run has."""
        self._listener.expect(jobs)

    def __enter__(self) -> "EventFiles":
        self._stack = ExitStack()
        self._stack.enter_context(self._listener)
        self._writer: Any = None
        if not rank():
            with writing(f"--tensorboard {self._folder}"):
                self._folder.mkdir(parents=True, exist_ok=True)
                self._writer = self._make(str(self._folder))
            self._stack.callback(self._writer.close)
            self._stack.enter_context(scalars.recorded_by(self._scalar))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, event: Any) -> None:
        self._listener(event)
        if self._writer is not None and event.total > 0:
            name = f"done/{event.job}/{event.what}".replace(" ", "_")
            self._count[name] = self._count.get(name, -1) + 1
            self._scalar(name, 100 * event.done / event.total, self._count[name])

    def _scalar(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
