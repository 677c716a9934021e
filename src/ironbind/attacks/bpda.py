"""Preparation that passes no useful gradient: exact on the way forward, a stand-in on the way back.

BPDA (Athalye, Carlini and Wagner 2018, arXiv 1802.00420, section 4.1). A quantiser, a JPEG codec or a decoder in front
of an encoder has a gradient that is zero or missing; gradient attacks then fail without the encoder being any more
robust. Give them what `behind` returns (docs/attacks.md).
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.types import Embed, InputError

Preparation = Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b ..."]]


def identity(x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """The stand-in for what changes its input little."""
    return x


def straight_through(forward: Preparation, backward: Preparation = identity) -> Preparation:
    """A function whose value is `forward(x)`, to the bit, and whose gradient is that of `backward(x)`.

    `forward` need not be differentiable, nor written in torch; it is called on a detached copy, which it may change in
    place. `backward` should be near it and differentiable (the identity for a quantiser, a smooth blur for a median
    filter); it is not called where no gradient is wanted. What comes back raises InputError when the two differ in
    shape.
    """

    def both(x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        with torch.no_grad():
            exact = forward(x.detach().clone())
        if not (torch.is_grad_enabled() and x.requires_grad):
            return exact
        stand_in = backward(x)
        if stand_in.shape != exact.shape:
            shapes = f"{tuple(stand_in.shape)} where the preparation itself gives {tuple(exact.shape)}"
            raise InputError(f"the substitute for a preparation gives shape {shapes}; expected the same shape")
        return _ValueOf.apply(stand_in, exact)

    return both


def behind(embed: Embed, preparation: Preparation, substitute: Preparation = identity) -> Embed:
    """`embed` behind a `preparation` that any gradient attack can climb through: exact forward, the gradient of
    `substitute` backward.

    Only the preparation is approximated; the encoder's own gradient is exact, taken at the prepared input.
    """
    prepare = straight_through(preparation, substitute)
    return lambda x: embed(prepare(x))


class _ValueOf(torch.autograd.Function):
    """The second argument with the gradient of the first; `first + (second - first).detach()` would round the value."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
