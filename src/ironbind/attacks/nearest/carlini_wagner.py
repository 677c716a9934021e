"""The L2 attack of Carlini and Wagner (2017, arXiv 1608.04644, section VI.A): a short perturbation against c times what
is missing to the goal.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.attacks.engine import input_gradient
from ironbind.attacks.nearest.minimum_norm import Nearest, Spent, seek
from ironbind.numerics.norms import GEOMETRIES, TINY, euclidean, per_row
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

INSIDE = 1 - 1e-6  # keeps the variable of a coordinate at its bound finite
LARGEST = 1e10  # c of the authors
DECAY = (0.9, 0.999)  # Adam (Kingma and Ba 2015, arXiv 1412.6980)


@dataclass(frozen=True)
class CarliniWagner:
    """For each sample the shortest perturbation that reaches the goal, by Adam on |delta|^2 + c max(-lead, 0). Norms:
    l2, and snr, which is l2 relative to the sample; `budget` caps the search: iterates beyond it are drawn back.

    From the paper: variables that tanh keeps in the bounds (where a space has two; plain ones elsewhere), a binary
    search on c for every sample, each of its `searches` a run of `steps` from the sample itself, the nearest success
    over all iterates. Ours: c begins where it would be right were the lead linear, and Adam's `rate` is a share of the
    distance that the same model expects, so that neither belongs to a space or a model.

    A sample costs `searches * steps + 1` gradient passes and a forward pass; one that is wrong already leaves at once,
    at distance 0. Where nothing within the cap reaches the goal, the point of highest loss comes back.
    """

    steps: int = 100
    searches: int = 5
    rate: float = 0.5

    minimum_norm: ClassVar[bool] = True
    norms: ClassVar[tuple[str, ...]] = ("l2", "snr")

    def __post_init__(self) -> None:
        if self.steps < 1 or self.searches < 1:
            raise InputError(
                f"CarliniWagner needs at least one step and one search, not steps={self.steps}, "
                f"searches={self.searches}"
            )
        if not self.rate > 0:
            raise InputError(
                f"CarliniWagner's rate={self.rate} moves nothing; expected a share of the distance, such as 0.5"
            )

    @property
    def name(self) -> str:
        return f"cw{self.steps}x{self.searches}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        """Raises InputError for other norms, BrokenPostCondition when an example leaves its budget or bounds."""
        budget.check(space)
        if budget.norm not in self.norms:
            raise InputError(
                f"CarliniWagner minimises a Euclidean length (l2, snr); norm {budget.norm!r} needs another attack, "
                "such as FMN"
            )

        def search(
            embed: Embed, x: Float[Tensor, "r ..."], z: Float[Tensor, "r d"], goal: Goal
        ) -> tuple[Nearest, Spent]:
            run = _Run(embed, x, goal, space, budget)
            nearest = Nearest.none(x)
            lead, gradient, _ = run.visit(x, nearest)
            slope = euclidean(gradient).clamp_min(TINY)
            expected = lead.abs() / slope  # where a linear lead would vanish
            c, low, high = (
                (2 * expected / slope).clamp_max(LARGEST),
                torch.zeros_like(lead),
                torch.full_like(lead, math.inf),
            )
            size = self.rate * expected.clamp_max(run.largest()) / math.sqrt(x[0].numel())
            for _ in range(self.searches):
                success = run(c, size, self.steps, nearest)
                low, high = torch.where(success, low, c), torch.where(success, c, high)
                astray = high.isinf()  # what the linear model took for enough is not: nor were the steps
                c, size = (
                    torch.where(astray, 10 * c, (low + high) / 2).clamp_max(LARGEST),
                    torch.where(astray, 3 * size, size),
                )
            spent = Spent.nothing(x)
            spent.gradients += self.searches * self.steps + 1
            return nearest, spent

        return seek(embed, x, goal.using("margin"), space, budget, search)


class _Run:
    """Minimisations for r samples."""

    def __init__(self, embed: Embed, x: Float[Tensor, "r ..."], goal: Goal, space: Space, budget: Budget) -> None:
        self.embed, self.x, self.goal, self.space, self.cap = embed, x, goal, space, budget.radius
        self.geometry, self.relative = GEOMETRIES[budget.norm], budget.norm == "snr"
        bounded = space.low is not None and space.high is not None
        self.variables: _Tanh | _Plain = _Tanh(space.low or 0.0, space.high or 0.0) if bounded else _Plain()

    def largest(self) -> Float[Tensor, " r"]:
        """The cap as a length."""
        return self.cap * (euclidean(self.x) if self.relative else torch.ones_like(self.x.flatten(1)[:, 0]))

    def visit(
        self, y: Float[Tensor, "r ..."], nearest: Nearest
    ) -> tuple[Float[Tensor, " r"], Float[Tensor, "r ..."], Bool[Tensor, " r"]]:
        """The lead at `y`, its gradient, and whether the goal is reached there (one gradient pass); `nearest` learns of
        `y`.
        """
        at = y.detach().requires_grad_(True)
        z = self.embed(at)
        lead = self.goal.loss(z)
        gradient = input_gradient(lead, at)
        with torch.no_grad():
            hit = self.goal.reached(z)
            nearest.keep(y, self.geometry.distance(y, self.x, self.space), lead.detach(), hit)
        return lead.detach(), gradient, hit

    def __call__(
        self, c: Float[Tensor, " r"], size: Float[Tensor, " r"], steps: int, nearest: Nearest
    ) -> Bool[Tensor, " r"]:
        """Adam from the samples themselves; whether the goal was reached with this `c`. `size`: how far a step moves a
        coordinate.
        """
        here, y, variables = Nearest.none(self.x), self.x, self.variables
        mean, square = torch.zeros_like(y), torch.zeros_like(y)
        for t in range(1, steps + 1):
            _, gradient, hit = self.visit(y, here)
            if t == steps:
                break
            with torch.no_grad():
                uphill = 2 * (y - self.x) - per_row(torch.where(hit, 0.0, c), y) * gradient
                w, slope = variables.of(y)
                mean = DECAY[0] * mean + (1 - DECAY[0]) * uphill * slope
                square = DECAY[1] * square + (1 - DECAY[1]) * (uphill * slope).square()
                move = per_row(size, y) * (mean / (1 - DECAY[0] ** t)) / ((square / (1 - DECAY[1] ** t)).sqrt() + 1e-12)
                y = self.geometry.project(variables.at(w - move / variables.half), self.x, self.space, self.cap)
        nearest.absorb(here)
        return here.reached


@dataclass(frozen=True)
class _Tanh:
    """y = the middle of the bounds + half their distance * tanh(w): no w leaves them."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    def of(self, y: Float[Tensor, "r ..."]) -> tuple[Float[Tensor, "r ..."], Float[Tensor, "r ..."]]:
        """w and dy/dw."""
        u = ((y - self.middle) / self.half).clamp(-INSIDE, INSIDE)
        return torch.atanh(u), self.half * (1 - u * u)

    def at(self, w: Float[Tensor, "r ..."]) -> Float[Tensor, "r ..."]:
        return self.middle + self.half * torch.tanh(w)


@dataclass(frozen=True)
class _Plain:
    """y = w, where a space has less than two bounds."""

    half: float = 1.0

    def of(self, y: Float[Tensor, "r ..."]) -> tuple[Float[Tensor, "r ..."], float]:
        return y, 1.0

    def at(self, w: Float[Tensor, "r ..."]) -> Float[Tensor, "r ..."]:
        return w
