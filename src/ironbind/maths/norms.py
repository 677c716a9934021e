"""Geometry of a budget: lengths, projections, random starts, steepest steps. One dispatch per norm, here and nowhere else.

Letters: b = batch; `...` = the axes of one sample. All functions treat each row on its own.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.types import Budget, SampleRandom, Space

# A float32 subtraction of two numbers in [-1, 1] is off by up to 6e-8; anything beyond this slack is a broken budget, not rounding.
SLACK = 1e-6


class BrokenPostCondition(AssertionError):
    """An attack returned an example that is not finite, not within its budget or not within the bounds of its space: a bug, never a result."""


def per_row(values: Float[Tensor, " b"], like: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """One number per row, shaped to broadcast over `like`."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def length(delta: Float[Tensor, "b ..."], norm: str) -> Float[Tensor, " b"]:
    """The norm of each row: the largest absolute coordinate ("linf") or the Euclidean length ("l2")."""
    flat = delta.flatten(1)
    if norm == "linf":
        return flat.abs().amax(dim=1)
    # summed in float64: over a million coordinates a float32 sum is off by more than SLACK
    return torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64).to(delta.dtype)


def into_bounds(x: Float[Tensor, "b ..."], space: Space) -> Float[Tensor, "b ..."]:
    """`x` clamped to the bounds of the space."""
    return x if space.low is None and space.high is None else x.clamp(space.low, space.high)


def project(y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, budget: Budget) -> Float[Tensor, "b ..."]:
    """`y` brought into the budget around `x` and into the space's bounds; points already inside stay where they are.

    For linf this is the exact Euclidean projection onto the intersection. For l2 the ball comes first and the box second: as `x`
    itself lies in the box, clamping shortens every coordinate of the difference, so that the result is in both (feasible, though not
    always the nearest feasible point).
    """
    if budget.norm == "linf":
        inside = torch.minimum(torch.maximum(y, x - budget.radius), x + budget.radius)
    else:
        delta = y - x
        shrink = (budget.radius / length(delta, "l2").clamp_min(1e-30)).clamp_max(1.0)
        inside = torch.where(per_row(shrink, y) < 1, x + delta * per_row(shrink, y), y)
    return into_bounds(inside, space)


def random_start(x: Float[Tensor, "b ..."], space: Space, budget: Budget, rng: SampleRandom, tag: str) -> Float[Tensor, "b ..."]:
    """A point drawn uniformly from the budget's ball around each row of `x`, then clamped to the bounds."""
    shape = tuple(x.shape[1:])
    if budget.norm == "linf":
        delta = (2 * rng.uniform(tag, shape).to(x) - 1) * budget.radius
    else:
        direction = rng.normal(tag, shape).to(x)
        coordinates = direction[0].numel() if len(x) else 1
        share = rng.uniform(tag + "/radius", ()).to(x) ** (1 / coordinates)
        delta = direction * per_row(share * budget.radius / length(direction, "l2").clamp_min(1e-30), x)
    return project(x + delta, x, space, budget)


def steepest(gradient: Float[Tensor, "b ..."], norm: str) -> Float[Tensor, "b ..."]:
    """The direction of unit norm along which a linear function with this gradient grows fastest: sign for linf, normalised for l2.

    A row whose gradient is zero stays zero.
    """
    if norm == "linf":
        return gradient.sign()
    return gradient / per_row(length(gradient, "l2").clamp_min(1e-30), gradient)


def enforce(y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, budget: Budget) -> None:
    """Raises BrokenPostCondition unless every row of `y` is finite, within `budget` of `x` and within the bounds of `space`."""
    if y.shape != x.shape:
        raise BrokenPostCondition(f"shape {tuple(y.shape)} came back for inputs of shape {tuple(x.shape)}")
    if not len(y):
        return
    finite = torch.isfinite(y).flatten(1).all(dim=1)
    if not finite.all():
        raise BrokenPostCondition(f"row {int((~finite).nonzero()[0])} is not finite")
    y64, x64 = y.double(), x.double()
    # Coordinates beyond 1 (an unbounded log-mel) carry proportionally more rounding, and an l2 length adds it up over coordinates.
    slack = SLACK * max(1.0, float(x64.abs().max())) * (1.0 if budget.norm == "linf" else max(1.0, budget.radius))
    spent = length(y64 - x64, budget.norm)
    if not (spent <= budget.radius + slack).all():
        row = int(spent.argmax())
        raise BrokenPostCondition(f"row {row} spends {float(spent[row]):.8g} of a {budget.norm} budget of {budget.radius:.8g} in {space.name}")
    low, high = float(y64.min()), float(y64.max())
    if (space.low is not None and low < space.low - SLACK) or (space.high is not None and high > space.high + SLACK):
        raise BrokenPostCondition(f"values reach [{low:.8g}, {high:.8g}], outside the bounds [{space.low}, {space.high}] of {space.name}")
