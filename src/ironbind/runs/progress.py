"""Progress of a run, as values that travel from worker processes to a listener."""

from collections.abc import Callable
from dataclasses import dataclass

WHOLE = "whole job"


@dataclass(frozen=True)
class Progress:
    """Of one job: the current step `what`, how many of its samples are `done`, and how many there are in `total`.

    Two are no steps of their own. WHOLE: how many parts of the whole job are done, of about equal cost. A `total` of 0:
    `what` is a number that was found, to be shown as it is.
    """

    job: str
    what: str
    done: int
    total: int

    @property
    def whole(self) -> bool:
        """Whether this is about the whole job."""
        return self.what == WHOLE


Listener = Callable[[Progress], None]


def no_listener(progress: Progress) -> None:
    """A listener that does nothing."""
