"""What attacks and audits ask of a budget: how far an example is, the way back into it, a random start, the best step, and
that nothing exceeds it.

Letters: b = batch; `...` = the axes of one sample. All functions treat each row on its own. What a norm means is in
`geometry.py`.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.numerics.geometry import GEOMETRIES, euclidean, into_bounds, per_row
from ironbind.types import Budget, SampleRandom, Space

__all__ = [
    "SLACK",
    "BrokenPostCondition",
    "enforce",
    "into_bounds",
    "per_row",
    "project",
    "random_start",
    "distance",
    "steepest_step",
    "unit",
]

# A float32 subtraction of two numbers in [-1, 1] is off by up to 6e-8; anything beyond this slack is a broken budget,
# not rounding.
SLACK = 1e-6


class BrokenPostCondition(AssertionError):
    """An attack returned an example that is not finite, not within its budget or not within the bounds of its space: a
    bug, never a result.
    """


def distance(y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, norm: str) -> Float[Tensor, " b"]:
    """How much of a budget each row's perturbation needs, in units of the norm's radius (snr: the ratio of amplitudes)."""
    return GEOMETRIES[norm].distance(y, x, space)


def project(
    y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, budget: Budget
) -> Float[Tensor, "b ..."]:
    """`y` brought into the budget around `x` and into the space's bounds; points already inside stay where they are."""
    return GEOMETRIES[budget.norm].project(y, x, space, budget.radius)


def random_start(
    x: Float[Tensor, "b ..."], space: Space, budget: Budget, rng: SampleRandom, tag: str
) -> Float[Tensor, "b ..."]:
    """A random point of the budget around each row of `x` (uniform in the ball for linf, l2, l1, pointwise_l2), then
    brought into the bounds.
    """
    return project(GEOMETRIES[budget.norm].draw(x, space, budget.radius, rng, tag), x, space, budget)


def steepest_step(
    gradient: Float[Tensor, "b ..."],
    x: Float[Tensor, "b ..."],
    space: Space,
    budget: Budget,
    at: Float[Tensor, "b ..."] | None = None,
) -> Float[Tensor, "b ..."]:
    """The step of the whole radius along which a linear function with this gradient grows fastest; attacks take shares
    of it.

    `at`: where the step begins (None: at `x`); l1 and event_share steps look at it. A row whose gradient is zero does
    not move.
    """
    return GEOMETRIES[budget.norm].steepest_step(gradient, x if at is None else at, x, space, budget.radius)


def unit(direction: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """Each row scaled to Euclidean length 1; a row of zeros stays zero."""
    return direction / per_row(euclidean(direction).clamp_min(1e-30), direction)


def enforce(y: Float[Tensor, "b ..."], x: Float[Tensor, "b ..."], space: Space, budget: Budget) -> None:
    """Raises BrokenPostCondition unless every row of `y` is finite, within `budget` of `x` and within the bounds of
    `space`.
    """
    if y.shape != x.shape:
        raise BrokenPostCondition(f"shape {tuple(y.shape)} came back for inputs of shape {tuple(x.shape)}")
    if not len(y):
        return
    finite = torch.isfinite(y).flatten(1).all(dim=1)
    if not finite.all():
        raise BrokenPostCondition(f"row {int((~finite).nonzero()[0])} is not finite")
    y64, x64 = y.double(), x.double()
    # Coordinates beyond 1 (an unbounded log-mel) carry proportionally more rounding, and a length adds it up over
    # coordinates.
    slack = SLACK * max(1.0, float(x64.abs().max())) * (max(1.0, budget.radius) if budget.norm in ("l2", "l1") else 1.0)
    used = distance(y64, x64, space, budget.norm)
    if not (used <= budget.radius + slack).all():
        row = int(used.argmax())
        raise BrokenPostCondition(
            f"row {row} spends {float(used[row]):.8g} of a {budget.norm} budget of {budget.radius:.8g} in {space.name}"
        )
    low, high = float(y64.min()), float(y64.max())
    if (space.low is not None and low < space.low - SLACK) or (space.high is not None and high > space.high + SLACK):
        raise BrokenPostCondition(
            f"values reach [{low:.8g}, {high:.8g}], outside the bounds [{space.low}, {space.high}] of {space.name}"
        )
