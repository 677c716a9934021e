"""Training batches, decoded ahead in worker processes, in an order that follows from a seed alone."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ironbind.numerics.processes import can_fork
from ironbind.numerics.sample_random import seed_of
from ironbind.types import Task

Rows = list[int]


class Batch(NamedTuple):
    """Samples by number, their inputs in each task's space, and the CPU seconds that decoding them took."""

    rows: Rows
    inputs: list[Tensor]
    seconds: float


class Place(NamedTuple):
    """A batch to come: the pass over the data that it belongs to, and its samples by number."""

    epoch: int
    rows: Rows


def order(rows: Sequence[int], epochs: int, count: int | None, batch_size: int, *seed: object) -> list[Place]:
    """The batches of all epochs (or `count` of them, over as many epochs as it takes), each epoch shuffled anew; the
    same for the same seed.
    """
    everyone = torch.tensor(list(rows))
    epochs = epochs if count is None else math.ceil(count * batch_size / len(everyone))
    places = []
    for epoch in range(epochs):
        shuffled = everyone[
            torch.randperm(len(everyone), generator=torch.Generator().manual_seed(seed_of(*seed, epoch)))
        ]
        places += [Place(epoch, part.tolist()) for part in shuffled.split(batch_size)]
    return places[:count]


class _Decoded:
    """What a worker is asked for: a batch of row numbers. Tasks of several spaces share one decoding.

    On the CPU it also brings the inputs into each task's space; what is to lie on an accelerator, which a fork cannot
    use, stays native.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.here = tasks[0].device.type == "cpu"

    def __getitems__(self, rows: Rows) -> Batch:
        started = time.process_time()
        native = self.tasks[0].native(rows)
        return Batch(list(rows), self.brought(native) if self.here else [native], time.process_time() - started)

    def brought(self, native: Tensor) -> list[Tensor]:
        return [task.bring(native) for task in self.tasks]


def stream(tasks: Sequence[Task], batches: Sequence[Rows], workers: int) -> Iterator[Batch]:
    """The batches in their order. `workers` processes decode ahead (0: none; none either where processes cannot be
    forked: data sets and encoders hold functions that cannot be sent to a fresh process).
    """
    forked = {"num_workers": workers, "prefetch_factor": 4, "multiprocessing_context": "fork"}
    options = forked if workers and can_fork() else {}
    untouched = torch.Generator().manual_seed(0)  # a loader draws its workers' seeds: not from the global generator
    decoded = _Decoded(tasks)
    loader: Any = DataLoader
    for batch in loader(decoded, batch_sampler=batches, collate_fn=lambda batch: batch, generator=untouched, **options):
        yield batch if decoded.here else batch._replace(inputs=decoded.brought(*batch.inputs))
