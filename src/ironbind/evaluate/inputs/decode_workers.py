"""Decoding in worker processes. It pays where reading a file takes longer than embedding it: clean passes over videos,
meshes, big pictures.

Samples are prepared one by one wherever that happens, so that workers change neither their order nor (at one torch
thread) a bit of them.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ironbind.core.samples import Remark
from ironbind.numerics.batching import batches
from ironbind.numerics.processes import can_fork


class Prepared(NamedTuple):
    """A sample as a native tensor, and what its reader remarked."""

    tensor: Tensor
    remarks: tuple[Remark, ...]


Prepare = Callable[[Sequence[int]], list[Prepared]]
SHARES = 2  # pieces of a batch per worker: one slow file then holds up half a share

_workers = 0
_pool: tuple[Any, ProcessPoolExecutor] | None = None  # the key that they decode for, and the processes
_serving: Prepare | None = None  # in a worker


@contextmanager
def decoders(workers: int) -> Iterator[None]:
    """Within the block, batches are decoded by so many processes (1 or less: by this one). No effect where processes
    cannot be forked safely (Windows, macOS).
    """
    global _workers
    before, _workers = _workers, workers if can_fork() else 0
    try:
        yield
    finally:
        _workers = before
        _dismiss()


def shared(key: Any, indices: Sequence[int], prepare: Prepare) -> list[Prepared]:
    """`prepare(indices)`, its samples shared among the workers. `key` says what `prepare` serves: workers know it as it
    was when they were forked.

    Raises what `prepare` raises, for the first sample in order that it raises for.
    """
    if _workers < 2 or len(indices) < 2 * _workers:
        return prepare(indices)
    pool = _serve(key, prepare)
    size = -(-len(indices) // (SHARES * _workers))
    shares = pool.map(_work, batches(indices, size))
    return [Prepared(torch.from_numpy(array), remarks) for share in shares for array, remarks in share]


def _serve(key: Any, prepare: Prepare) -> ProcessPoolExecutor:
    """The processes for `key`; those for another key are ended."""
    global _pool
    if _pool is None or _pool[0] != key:
        _dismiss()
        # a fork shares data set and encoder without sending them; what runs in it is decoding, on one thread and never
        # on an accelerator
        context = multiprocessing.get_context("fork")
        _pool = (key, ProcessPoolExecutor(_workers, mp_context=context, initializer=_begin, initargs=(prepare,)))
    return _pool[1]


def _dismiss() -> None:
    global _pool
    if _pool is not None:
        _pool[1].shutdown(wait=True, cancel_futures=True)
        _pool = None


def _begin(prepare: Prepare) -> None:
    global _serving, _workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the one that forked these ends them
    torch.set_num_threads(1)
    _serving, _workers = prepare, 0


def _work(indices: list[int]) -> list[tuple[np.ndarray, tuple[Remark, ...]]]:
    assert _serving is not None
    return [(prepared.tensor.numpy(), prepared.remarks) for prepared in _serving(indices)]
