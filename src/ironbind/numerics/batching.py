"""Batches, and batches whose rows do not feel each other, not even in the last bit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.types import Embed

T = TypeVar("T")
Rows = Float[Tensor, "b ..."]  # said once: the functions made below are made for every pass
Embedded = Float[Tensor, "b d"]

# CPU matrix kernels differ in the last bit between batches of 1, 2, 3 rows and larger ones, and agree from multiples of
# 4 rows up (measured, docs/engine.md). Rounding every batch up to a multiple of 4 makes a sample's result independent
# of who shares its batch.
ROW_QUANTUM = 4


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """The items in order, so many at a time; the last batch may be shorter."""
    return (list(items[first : first + size]) for first in range(0, len(items), size))


@dataclass
class Padding:
    """How many rows were computed that belong to no sample."""

    rows: int = 0


_counting: ContextVar[tuple[Padding, ...]] = ContextVar("counting", default=())


@contextmanager
def counted_padding() -> Iterator[Padding]:
    """Counts the rows that `in_full_batches` adds meanwhile, in this thread."""
    padding = Padding()
    token = _counting.set((*_counting.get(), padding))
    try:
        yield padding
    finally:
        _counting.reset(token)


def missing_rows(x: Float[Tensor, "b ..."]) -> int:
    """How many rows a batch lacks to a multiple of ROW_QUANTUM. None on another device than the CPU, where nothing is
    promised to the bit."""
    return -len(x) % ROW_QUANTUM if x.device.type == "cpu" else 0


def in_full_batches(embed: Embed) -> Embed:
    """`embed`, on the CPU always called on a multiple of ROW_QUANTUM rows; padding rows repeat the last one, their
    answers are dropped, and `counted_padding` counts them.
    """
    full = padded(embed)

    def counted(x: Rows) -> Embedded:
        for padding in _counting.get():
            padding.rows += missing_rows(x)
        return full(x)

    return counted


def padded(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """As `in_full_batches`, for what costs no pass of an encoder: nothing is counted."""
    return partial(_call_padded, function)


def _call_padded(function: Callable[[Tensor], Tensor], x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    missing = missing_rows(x)
    if not missing:
        return function(x)
    filler = x[-1:].detach().expand(missing, *[-1] * (x.dim() - 1))
    return function(torch.cat([x, filler]))[: len(x)]


def products(z: Float[Tensor, "b d"], references: Float[Tensor, "m d"]) -> Float[Tensor, "b m"]:
    """`z @ references.T` in full batches: what is asked of an embedding must not depend on its neighbours either."""
    return _call_padded(lambda rows: rows @ references.T, z)
