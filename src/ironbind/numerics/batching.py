"""Batches, and batches whose rows do not feel each other, not even in the last bit."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.types import Embed

T = TypeVar("T")

# CPU matrix kernels differ in the last bit between batches of 1, 2, 3 rows and larger ones, and agree from multiples of
# 4 rows up (measured, docs/engine.md). Rounding every batch up to a multiple of 4 makes a sample's result independent
# of who shares its batch.
ROW_QUANTUM = 4


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """The items in order, so many at a time; the last batch may be shorter."""
    return (list(items[first : first + size]) for first in range(0, len(items), size))


def in_full_batches(embed: Embed) -> Embed:
    """`embed`, always called on a multiple of ROW_QUANTUM rows; padding rows repeat the last one and their answers are
    dropped.
    """

    def padded(x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        missing = -len(x) % ROW_QUANTUM
        if not missing or not len(x):
            return embed(x)
        filler = x[-1:].detach().expand(missing, *[-1] * (x.dim() - 1))
        return embed(torch.cat([x, filler]))[: len(x)]

    return padded


def products(z: Float[Tensor, "b d"], references: Float[Tensor, "m d"]) -> Float[Tensor, "b m"]:
    """`z @ references.T` in full batches: what is asked of an embedding must not depend on its neighbours either."""
    return in_full_batches(lambda rows: rows @ references.T)(z)
