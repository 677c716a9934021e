"""Progress of a run, as values that travel from worker processes to whoever listens."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Of one job: `what` it is doing, how many samples of how many are through."""

    job: str
    what: str
    done: int
    total: int


Listener = Callable[[Progress], None]


def unheard(progress: Progress) -> None:
    """The listener of a run that nobody follows."""
