"""Whether what was written embeds as the live adapters do: the same inputs through both."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.numerics.sample_random import seed_of
from ironbind.types import Encoder, InputError, InputSpec

FOLDED, CONVERTED = 1e-6, 1e-4
"""Largest difference of a coordinate of a unit row: of the same operations on folded weights; of a graph that another
program compiled."""
PROBES = 8
Embed = Callable[[Tensor, str], Tensor]


class Verified(NamedTuple):
    """`difference`: the largest one of a coordinate of unit rows, over `probes` inputs in each of `spaces`;
    `allowed`: below which it passes.
    """

    difference: float
    allowed: float
    probes: int
    spaces: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"largest difference from the live adapters {self.difference:.1e} (allowed {self.allowed:.0e}; "
            f"{self.probes} inputs in {', '.join(self.spaces)})"
        )


def probes(spec: InputSpec, space: str, count: int = PROBES) -> Float[Tensor, "b ..."]:
    """Inputs of a space: noise over its whole range (unbounded: [-1, 1]), each at a contrast of its own."""
    where, shape = spec.space_named(space), spec.shape_in(space)
    low, high = (-1.0, 1.0) if where.low is None or where.high is None else (where.low, where.high)
    generator = torch.Generator().manual_seed(seed_of(0, "probes", spec.modality, space))
    noise = torch.rand((count, *shape), generator=generator) - 0.5
    contrast = torch.linspace(1 / count, 1, count).reshape(-1, *[1] * len(shape))
    return (low + high) / 2 + (high - low) * contrast * noise


@torch.no_grad()
def verify(live: Encoder, written: Embed, spec: InputSpec, spaces: tuple[str, ...], allowed: float) -> Verified:
    """How far `written` is from the live adapters. Raises InputError where that is more than `allowed`."""
    difference = 0.0
    for space in spaces:
        x = probes(spec, space)
        expected = live.embed(spec.modality, x, space=space)
        got = torch.cat([written(x[:1], space), written(x[1:], space)])  # whatever the batch
        if got.shape != expected.shape or not torch.isfinite(got).all():
            raise InputError(
                f"the exported {spec.modality} tower answers {tuple(got.shape)} with numbers that are not finite or "
                f"of another shape in {space}; expected {tuple(expected.shape)}"
            )
        difference = max(difference, float((got - expected).abs().max()))
    found = Verified(difference, allowed, PROBES, spaces)
    if difference > allowed:
        raise InputError(f"the exported {spec.modality} tower is not what was trained: {found}; do not use it")
    return found
