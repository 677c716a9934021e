"""Progress of a run, as values that travel from worker processes to a listener."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Of one job: the current step `what`, how many of its samples are `done`, and how many there are in `total`."""

    job: str
    what: str
    done: int
    total: int


Listener = Callable[[Progress], None]


def no_listener(progress: Progress) -> None:
    """A listener that does nothing."""
