"""Projected gradient descent (Madry et al. 2018, arXiv 1706.06083), with momentum on request (MI-FGSM, Dong et al.
2018, arXiv 1710.06081), and its one-step ancestor FGSM (Goodfellow et al. 2015, arXiv 1412.6572)."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import Iteration, ascend, with_restarts
from ironbind.numerics.norms import per_row, random_start, steepest_step
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space


@dataclass(frozen=True)
class PGD:
    """Steepest ascent steps of fixed length, each projected back into the budget.

    `step_size` is a share of the radius; None means 2.5 / steps (Madry's rule). `restarts` begin at fresh random points
    and only for samples that still stand. `loss`: how the goal is pursued ("margin", "ce", "cosine"). With
    `stop_when_reached=False` every sample climbs to the end, which is what examples for training or replay need: a
    barely successful example says little about another encoder. `momentum`: decay of the accumulated gradient (0: none;
    MI-FGSM uses 1.0, each gradient scaled to mean absolute value 1 first).
    """

    steps: int = 20
    step_size: float | None = None
    random_start: bool = True
    restarts: int = 1
    loss: str = "margin"
    stop_when_reached: bool = True
    momentum: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise InputError(
                f"PGD needs at least one step and one restart, not steps={self.steps}, restarts={self.restarts}"
            )
        if self.momentum < 0:
            raise InputError(f"PGD's momentum {self.momentum} is negative; expected 0 (none) or a decay such as 1.0")

    @property
    def name(self) -> str:
        again = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"{'mi' if self.momentum else 'pgd'}{self.steps}{again}-{self.loss}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        goal = goal.using(self.loss)
        share = self.step_size if self.step_size is not None else min(1.0, 2.5 / self.steps)

        def step(now: Iteration) -> Float[Tensor, "r ..."]:
            gradient = self._with_momentum(now) if self.momentum else now.gradient
            return now.current + share * steepest_step(gradient, now.x, space, budget, at=now.current)

        def attempt(restart: int, rows: Tensor) -> Attacked:
            clean = x[rows]
            start = (
                random_start(clean, space, budget, rng[rows], f"restart {restart}")
                if self.random_start or restart
                else clean
            )
            return ascend(
                embed, clean, goal[rows], space, budget, start=start, step=step, steps=self.steps,
                stop_when_reached=self.stop_when_reached,
            )  # fmt: skip

        return with_restarts(attempt, x, self.restarts, self.stop_when_reached)

    def _with_momentum(self, now: Iteration) -> Float[Tensor, "r ..."]:
        """MI-FGSM, equation 6: the running sum of gradients, each at mean absolute value 1."""
        size = now.gradient.flatten(1).abs().mean(dim=1).clamp_min(1e-30)
        fresh = now.gradient / per_row(size, now.gradient)
        now.state["velocity"] = fresh if now.t == 0 else self.momentum * now.state["velocity"] + fresh
        return now.state["velocity"]


@dataclass(frozen=True)
class FGSM:
    """One steepest step of the full radius from the clean sample."""

    loss: str = "margin"

    @property
    def name(self) -> str:
        return f"fgsm-{self.loss}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        return PGD(steps=1, step_size=1.0, random_start=False, loss=self.loss)(embed, x, goal, space, budget, rng)
