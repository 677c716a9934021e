"""Numbers that a long computation reports while it runs, such as the loss of a training: to whoever listens, to nobody
by default.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Sink = Callable[[str, float, int], None]
"""Called with the name of a number, its value, and the step at which it was measured."""

_sinks: list[Sink] = []


def record(name: str, value: float, step: int) -> None:
    """Reports a number of this process."""
    for sink in _sinks:
        sink(name, value, step)


@contextmanager
def recorded_by(sink: Sink) -> Iterator[None]:
    """Within the block, `sink` is called with every number that is reported."""
    _sinks.append(sink)
    try:
        yield
    finally:
        _sinks.remove(sink)
