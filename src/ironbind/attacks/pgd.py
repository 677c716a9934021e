"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083) and its one-step ancestor FGSM (Goodfellow et al. 2015, arXiv 1412.6572)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import Iteration, ascend, with_restarts
from ironbind.maths.norms import random_start, steepest
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space


@dataclass(frozen=True)
class PGD:
    """Steepest ascent steps of fixed length, each projected back into the budget.

    `step_size` is a share of the radius; None means 2.5 / steps (Madry's rule). `restarts` begin at fresh random points and only for
    samples that still stand. `loss`: how the goal is pursued ("margin", "ce", "cosine"). With `stop_when_reached=False` every sample
    climbs to the end, which is what examples for training or replay need: a barely successful example says little about another encoder.
    """

    steps: int = 20
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1
    loss: str = "margin"
    stop_when_reached: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"PGD needs at least one step and one restart, not steps={self.steps}, restarts={self.restarts}")

    @property
    def name(self) -> str:
        again = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"pgd{self.steps}{again}-{self.loss}"

    def __call__(self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom) -> Attacked:
        goal = goal.using(self.loss)
        share = self.step_size if self.step_size is not None else min(1.0, 2.5 / self.steps)

        def step(now: Iteration) -> Float[Tensor, "r ..."]:
            return now.current + share * budget.radius * steepest(now.gradient, budget.norm)

        def attempt(restart: int, rows: Tensor) -> Attacked:
            some = x[rows]
            start = random_start(some, space, budget, rng[rows], f"restart {restart}") if self.random_start or restart else some
            return ascend(
                embed, some, goal[rows], space, budget, start=start, step=step, steps=self.steps, stop_when_reached=self.stop_when_reached
            )  # fmt: skip

        return with_restarts(attempt, x, self.restarts, self.stop_when_reached)


@dataclass(frozen=True)
class FGSM:
    """One steepest step of the full radius from the clean sample."""

    loss: str = "margin"

    @property
    def name(self) -> str:
        return f"fgsm-{self.loss}"

    def __call__(self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom) -> Attacked:
        return PGD(steps=1, step_size=1.0, random_start=False, loss=self.loss)(embed, x, goal, space, budget, rng)
