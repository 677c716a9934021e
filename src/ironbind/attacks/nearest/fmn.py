"""The nearest example that reaches the goal: Fast Minimum-Norm attack (Pintor et al. 2021, arXiv 2102.12827), made
scale-free and run as a race.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.attacks.engine import input_gradient
from ironbind.attacks.nearest.minimum_norm import Nearest, Spent, seek
from ironbind.numerics.norms import GEOMETRIES, radius_for
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

STEP = (1.0, 0.01)  # alpha of the paper: first and last step, in radii
CHANGE = (0.05, 0.001)  # gamma of the paper: by which share the radius grows and shrinks, at first and at last
FINISH = ((0.5, 0.01), (0.02, 0.001))  # the same for the finish, which begins where a search is nearly there
HEATS = 0.6  # share of the steps that goes to the heats
SHORTEST = 6  # steps; a shorter heat says nothing
PULLS = 6  # forward passes that draw the nearest example towards the sample in the end


@dataclass(frozen=True)
class FMN:
    """For each sample the smallest perturbation that reaches the goal, in any norm and space; `budget` caps how far the
    search may go.

    From the paper: a step along the steepest direction, then a projection onto a sphere of the sample's own, whose
    radius shrinks by a factor where the goal was reached and grows by one where it was not; the distance of the
    linearised boundary as the first radius; both annealed. Ours: steps are shares of that radius, so that no step size
    belongs to a space or a model; the radius also follows the linearised boundary inwards, halfway; the nearest
    `targets` wrong classes get a short heat each and the finish starts from the nearest example of all; a few forward
    passes draw that one further in. docs/minimum-norm.md has the measurements behind it.

    A sample costs `steps` gradient passes and up to 7 forward passes; one that is wrong already leaves at once, at
    distance 0. Where nothing within the cap reaches the goal, the point of highest loss comes back. `loss`: "margin" or
    "dlr", those that are 0 at the boundary. For those who ask about one radius only: a sample leaves once its example
    lies within the share `enough` of the cap, and one for which no heat found an example gets no finish if the
    linearised boundary lies beyond `hopeless` caps.
    """

    steps: int = 100
    targets: int = 7
    loss: str = "margin"
    enough: float = 0.0
    hopeless: float = math.inf

    minimum_norm: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.targets < 1:
            raise InputError(
                f"FMN needs at least one step and one target, not steps={self.steps}, targets={self.targets}"
            )
        if not (self.enough >= 0 and self.hopeless >= 0):
            raise InputError(
                f"FMN's enough={self.enough} and hopeless={self.hopeless} are shares of the cap; expected 0 or more"
            )
        if self.loss not in ("margin", "dlr"):
            raise InputError(f"loss {self.loss!r} does not say where the boundary is; FMN takes margin or dlr")

    @property
    def name(self) -> str:
        return f"fmn{self.steps}-{self.loss}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        """Raises BrokenPostCondition when an example leaves its budget or bounds."""
        budget.check(space)

        def search(
            embed: Embed, x: Float[Tensor, "r ..."], z: Float[Tensor, "r d"], goal: Goal
        ) -> tuple[Nearest, Spent]:
            descent = _Descent(embed, x, goal, space, budget, self.enough * budget.radius)
            self._race(descent, z)
            descent.pull()
            return descent.nearest, descent.spent

        return seek(embed, x, goal.using(self.loss), space, budget, search)

    def _race(self, descent: "_Descent", z: Float[Tensor, "r d"]) -> None:
        """The goal itself, which pursues the nearest rival, and the rivals behind that one; then the goal again from
        the nearest example.
        """
        goal, everyone = descent.goal, torch.arange(len(z), device=z.device)
        rivals = goal.rivals(z, self.targets)
        heats = min(rivals.shape[1], int(HEATS * self.steps) // SHORTEST)
        if heats < 2:
            descent(everyone, goal, self.steps)
            return
        steps = int(HEATS * self.steps) // heats
        descent(everyone, goal, steps)
        for place in range(1, heats):
            descent(descent.open, goal.against(rivals[:, place]), steps)
        hopeful = descent.nearest.reached | (descent.expected <= self.hopeless * descent.cap)
        rows = descent.open
        descent(rows[hopeful[rows]], goal, self.steps - heats * steps, *FINISH, onwards=True)


class _Descent:
    """The search for r samples: what it found `nearest`, and what it `spent`. A sample whose example lies within
    `enough` leaves.

    `expected`: the smallest radius at which a sample would fall if the loss were linear, judged where each descent that
    found no example stood best.
    """

    def __init__(
        self, embed: Embed, x: Float[Tensor, "r ..."], goal: Goal, space: Space, budget: Budget, enough: float
    ) -> None:
        self.embed, self.x, self.goal, self.space, self.cap = embed, x, goal, space, budget.radius
        self.norm, self.geometry, self.enough = budget.norm, GEOMETRIES[budget.norm], enough
        # an l1 sphere picks the coordinates that matter by itself, where the step leaves the gradient its shape
        self.steepest = GEOMETRIES["l2" if self.norm == "l1" else self.norm]
        self.nearest, self.spent = Nearest.none(x), Spent.nothing(x)
        self.expected = self.nearest.distance.clone()

    @property
    def open(self) -> Int[Tensor, " s"]:
        """The samples that are still searched for."""
        return (self.nearest.distance > self.enough).nonzero().squeeze(1)

    def __call__(
        self,
        rows: Int[Tensor, " s"],
        pursued: Goal,
        steps: int,
        step: tuple[float, float] = STEP,
        change: tuple[float, float] = CHANGE,
        onwards: bool = False,
    ) -> None:
        """`steps` gradient passes along `pursued` for these samples, from the clean ones or (`onwards`) from the
        nearest examples. `step`, `change`: as the constants.
        """
        x, goal, pursued = self.x[rows], self.goal[rows], pursued[rows]
        space, geometry = self.space, self.geometry
        start, nearest = self.nearest[rows] if onwards else Nearest.none(x), Nearest.none(x)
        expected = torch.full_like(start.distance, torch.inf)
        y, radius, bracketed, level = start.x, start.distance, start.reached, torch.zeros_like(start.loss)
        for t in range(steps if len(rows) else 0):
            at = y.detach().requires_grad_(True)
            z = self.embed(at)
            lead = pursued.loss(z)
            gradient = input_gradient(lead, at)
            self.spent.gradients[rows] += 1
            with torch.no_grad():
                lead, hit, distance = lead.detach(), goal.reached(z), geometry.distance(y, x, space)
                better = nearest.keep(y, distance, goal.loss(z), hit)
                bracketed, level = bracketed | hit, torch.where(hit, level, torch.maximum(level, lead))
                missing = torch.where(hit, (level - lead).clamp_max(0), lead.abs())
                boundary = radius_for(missing, gradient, y, x, space, self.norm)  # if the loss were linear
                expected = torch.where(better & ~hit, boundary, expected)
                if t == steps - 1:
                    break
                gamma = _annealed(change, t, steps)
                shrunk = torch.minimum(torch.minimum(radius, nearest.distance) * (1 - gamma), (distance + boundary) / 2)
                # a loss that promises success where there is none does not know the distance: the radius at least
                # doubles
                sought = torch.where(lead < 0, boundary, torch.maximum(boundary, 2 * distance)) * (1 + change[1])
                radius = torch.where(hit, shrunk, torch.where(bracketed, radius * (1 + gamma), sought)).clamp(
                    0, self.cap
                )
                y = geometry.project(
                    y + _annealed(step, t, steps) * self.steepest.steepest_step(gradient, y, x, space, radius),
                    x,
                    space,
                    radius,
                )
                stay = nearest.distance > self.enough
                if not stay.all():
                    self._learn(rows[~stay], nearest[~stay], expected[~stay])
                    if not stay.any():
                        return
                    rows, goal, pursued = rows[stay], *(one[stay.nonzero().squeeze(1)] for one in (goal, pursued))
                    nearest = nearest[stay]
                    x, y, radius, bracketed, level, expected = (
                        held[stay] for held in (x, y, radius, bracketed, level, expected)
                    )
        self._learn(rows, nearest, expected)

    def _learn(self, rows: Int[Tensor, " s"], nearest: Nearest, expected: Float[Tensor, " s"]) -> None:
        known = self.nearest[rows]
        known.absorb(nearest)
        self.nearest.put(rows, known)
        self.expected[rows] = torch.minimum(self.expected[rows], expected)

    @torch.no_grad()
    def pull(self) -> None:
        """Draws examples towards their samples while they reach the goal: by a share of the distance, doubled after
        success, else quartered.
        """
        rows = (self.nearest.reached & (self.nearest.distance > self.enough)).nonzero().squeeze(1)
        if not len(rows):
            return
        x, goal, near = self.x[rows], self.goal[rows], self.nearest[rows]
        share = torch.full_like(near.distance, 1 / 64)
        for _ in range(PULLS):
            y = self.geometry.project(near.x, x, self.space, near.distance * (1 - share))
            z = self.embed(y)
            closer = near.keep(y, self.geometry.distance(y, x, self.space), goal.loss(z), goal.reached(z))
            share = torch.where(closer, 2 * share, share / 4).clamp_max(0.5)
        self.nearest.put(rows, near)
        self.spent.forwards[rows] += PULLS


def _annealed(ends: tuple[float, float], step: int, steps: int) -> float:
    """From the first to the last along half a cosine."""
    first, last = ends
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2
